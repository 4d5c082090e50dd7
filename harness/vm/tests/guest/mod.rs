//! A guest that obeys orders in the shared region: what the tests run instead of a kernel.

use std::arch::global_asm;

use refan_vm::pvh;

/// Orders: the 32-bit word at the beginning of the shared region.
pub mod order {
    /// Fill [`super::SAMPLES`] with what a guest can know of time and chance.
    pub const SAMPLE: u8 = 1;
    /// Never stop again.
    pub const SPIN: u8 = 2;
    /// Reset the machine by a triple fault.
    pub const RESET: u8 = 3;
    /// Power off by ACPI.
    pub const POWER_OFF: u8 = 4;
    /// Write to the console for ever.
    pub const FLOOD: u8 = 5;
    /// Write the text at [`super::TEXT_AT`] to the console and reset.
    pub const SAY_AND_RESET: u8 = 6;
}

/// Where the guest counts the gates that it has passed, from its own RAM.
pub const ROUNDS_AT: usize = 4;
/// What it samples: 32 records of 32 bytes, of TSC, RDRAND, PIT, ACPI timer and CMOS clock.
pub const SAMPLES: std::ops::Range<usize> = 64..64 + 32 * 32;
/// Where it reads a text from, up to a zero byte.
pub const TEXT_AT: usize = 4096;

/// The guest as a kernel image.
pub fn image() -> Vec<u8> {
    unsafe extern "C" {
        static refan_test_guest: u8;
        static refan_test_guest_end: u8;
    }
    let (start, end) = (&raw const refan_test_guest, &raw const refan_test_guest_end);
    // SAFETY: both symbols are in one read-only section, below, with the code between them.
    let code = unsafe { std::slice::from_raw_parts(start, end.offset_from_unsigned(start)) };
    pvh::image(code)
}

// It is entered in 32-bit protected mode at `pvh::ENTRY`; the ports of the doorbell come in as
// operands. The shared region lies at 4 GiB, so PAE paging maps it to 1 GiB.
global_asm!(
    ".pushsection .rodata.refan_test_guest, \"a\"",
    ".code32",
    ".globl refan_test_guest, refan_test_guest_end",
    "refan_test_guest:",
    "    jmp 1f",
    "    .balign 8",
    "9:  .long 0, 0",
    ".set ROUNDS, 9b - refan_test_guest + {entry}",
    ".set NO_IDT, ROUNDS",
    // Page tables: the first GiB to itself, the next to the shared region, in pages of 2 MiB.
    "1:  mov $0x200000, %edi",
    "    movl $0x201001, (%edi)",
    "    movl $0x202001, 8(%edi)",
    "    mov %edi, %cr3",
    "    mov $0x83, %eax",
    "    mov $0x201000, %edi",
    "    mov $512, %ecx",
    "2:  mov %eax, (%edi)",
    "    add $0x200000, %eax",
    "    add $8, %edi",
    "    loop 2b",
    "    mov $0x83, %eax",
    "    mov $8, %cl",
    "2:  mov %eax, (%edi)",
    "    movl $1, 4(%edi)",
    "    add $0x200000, %eax",
    "    add $8, %edi",
    "    loop 2b",
    "    mov $0x20, %eax",
    "    mov %eax, %cr4",
    "    mov %cr0, %eax",
    "    or $0x80000000, %eax",
    "    mov %eax, %cr0",
    "    mov $0x40000000, %edi",
    // Ring, wait at the gate, count, look for an order.
    "stop:",
    "    mov ${ring}, %edx",
    "    out %al, %dx",
    "    mov ${gate}, %edx",
    "    out %al, %dx",
    "    incl ROUNDS",
    "    mov ROUNDS, %eax",
    "    mov %eax, 4(%edi)",
    "    mov (%edi), %eax",
    "    movl $0, (%edi)",
    "    cmp $1, %eax",
    "    je sample",
    "    cmp $2, %eax",
    "    je spin",
    "    cmp $3, %eax",
    "    je reset",
    "    cmp $4, %eax",
    "    je power_off",
    "    cmp $5, %eax",
    "    je flood",
    "    cmp $6, %eax",
    "    je say",
    "    jmp stop",
    "sample:",
    "    lea 64(%edi), %esi",
    "    mov $32, %ebp",
    "3:  rdtsc",
    "    mov %eax, (%esi)",
    "    mov %edx, 4(%esi)",
    "    rdrand %eax",
    "    mov %eax, 8(%esi)",
    "    xor %eax, %eax",
    "    out %al, $0x43", // latch the PIT's counter 0
    "    in $0x40, %al",
    "    mov %al, %ah",
    "    in $0x40, %al",
    "    mov %eax, 12(%esi)",
    "    mov $0x608, %edx", // the ACPI timer
    "    in %dx, %eax",
    "    mov %eax, 16(%esi)",
    "    xor %eax, %eax",
    "    out %al, $0x70", // the CMOS clock's seconds
    "    in $0x71, %al",
    "    mov %eax, 20(%esi)",
    "    add $32, %esi",
    "    mov $20000, %ecx",
    "4:  loop 4b",
    "    dec %ebp",
    "    jnz 3b",
    "    jmp stop",
    "spin:",
    "    jmp spin",
    "power_off:",
    "    mov $0x604, %edx", // PM1a control: SLP_EN, type S5
    "    mov $0x2000, %eax",
    "    out %ax, %dx",
    "    jmp spin",
    "flood:",
    "    mov $0x3f8, %edx",
    "5:  out %al, %dx",
    "    jmp 5b",
    "say:",
    "    lea 4096(%edi), %esi",
    "    mov $0x3f8, %edx",
    "6:  mov (%esi), %al",
    "    test %al, %al",
    "    jz reset",
    "    out %al, %dx",
    "    inc %esi",
    "    jmp 6b",
    "reset:",
    "    movl $0, ROUNDS",
    "    lidt NO_IDT",
    "    int3",
    "refan_test_guest_end:",
    ".code64",
    ".popsection",
    entry = const pvh::ENTRY,
    ring = const refan_wire::RING_PORT,
    gate = const refan_wire::GATE_PORT,
    options(att_syntax),
);
