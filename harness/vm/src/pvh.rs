//! The smallest guest: a few bytes of code in an ELF file that QEMU loads as a PVH kernel.
//!
//! QEMU's loader wants an ELF file with a note of name "Xen" and type `XEN_ELFNOTE_PHYS32_ENTRY`
//! (xen/include/public/elfnote.h), whose descriptor is the physical address of the entry. The
//! code begins there in 32-bit protected mode with flat segments, paging off and interrupts
//! masked (Xen: docs/misc/pvh.pandoc). Such a guest tries an accelerator, or tests this crate,
//! in a fraction of a second and without a kernel.

/// Where the code is loaded and entered: 1 MiB.
pub const ENTRY: u32 = 0x10_0000;

const XEN_ELFNOTE_PHYS32_ENTRY: u32 = 18;
const EHDR: usize = 64;
const PHDR: usize = 56;
const NOTE: usize = 24;

/// An ELF image that runs `code`, which is linked to run at [`ENTRY`].
pub fn image(code: &[u8]) -> Vec<u8> {
    let note_at = EHDR + 2 * PHDR;
    let code_at = note_at + NOTE;
    let mut image = Vec::with_capacity(code_at + code.len());
    // Elf64_Ehdr (elf(5)): class 64, little endian, version 1; ET_EXEC, EM_X86_64.
    image.extend_from_slice(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    put16(&mut image, &[2, 62]);
    put32(&mut image, &[1]);
    put64(&mut image, &[ENTRY.into(), EHDR as u64, 0]);
    put32(&mut image, &[0]);
    put16(&mut image, &[EHDR as u16, PHDR as u16, 2, 64, 0, 0]);
    // Elf64_Phdr: PT_LOAD with all permissions.
    put32(&mut image, &[1, 7]);
    let length = code.len() as u64;
    put64(&mut image, &[code_at as u64, ENTRY.into(), ENTRY.into(), length, length, 1]);
    // Elf64_Phdr: PT_NOTE, readable.
    put32(&mut image, &[4, 4]);
    put64(&mut image, &[note_at as u64, 0, 0, NOTE as u64, NOTE as u64, 4]);
    // Elf64_Nhdr: lengths of name and descriptor, type; name and descriptor padded to four.
    put32(&mut image, &[4, 8, XEN_ELFNOTE_PHYS32_ENTRY]);
    image.extend_from_slice(b"Xen\0");
    put64(&mut image, &[ENTRY.into()]);
    debug_assert_eq!(image.len(), code_at);
    image.extend_from_slice(code);
    image
}

/// Code that rings the doorbell, counts down from `count`, rings again and halts.
pub(crate) fn counting_code(count: u32) -> Vec<u8> {
    let [low, high] = refan_wire::RING_PORT.to_le_bytes();
    let [c0, c1, c2, c3] = count.to_le_bytes();
    vec![
        0x66, 0xba, low, high, // mov dx, RING_PORT
        0xee, // out dx, al
        0xb9, c0, c1, c2, c3,   // mov ecx, count
        0x49, // dec ecx
        0x75, 0xfd, // jnz to the dec
        0xee, // out dx, al
        0xf4, // hlt
        0xeb, 0xfd, // jmp to the hlt
    ]
}

fn put16(image: &mut Vec<u8>, values: &[u16]) {
    values.iter().for_each(|value| image.extend_from_slice(&value.to_le_bytes()));
}

fn put32(image: &mut Vec<u8>, values: &[u32]) {
    values.iter().for_each(|value| image.extend_from_slice(&value.to_le_bytes()));
}

fn put64(image: &mut Vec<u8>, values: &[u64]) {
    values.iter().for_each(|value| image.extend_from_slice(&value.to_le_bytes()));
}
