//! The executables of a program: the smallest that Linux runs.

/// Where the file is mapped; a page above the lowest address that may be mapped.
const BASE: u64 = 0x40_0000;
const ELF_HEADER_LEN: u64 = 64;
const PROGRAM_HEADER_LEN: u64 = 56;

/// `exit_group(0)`: `mov eax, 231; xor edi, edi; syscall`.
const CODE: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];

/// A static 64-bit executable that exits with status 0 (`elf(5)`): one header, one segment and
/// nine bytes of code, so the kernel reads little to start it.
pub fn exit_successfully() -> Vec<u8> {
    let code_at = ELF_HEADER_LEN + PROGRAM_HEADER_LEN;
    let len = code_at + CODE.len() as u64;
    let mut file = Vec::with_capacity(len as usize);
    // e_ident: 64-bit, little-endian, version 1, System V.
    file.extend(b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0");
    file.extend(2u16.to_le_bytes()); // e_type: ET_EXEC
    file.extend(62u16.to_le_bytes()); // e_machine: EM_X86_64
    file.extend(1u32.to_le_bytes()); // e_version
    file.extend((BASE + code_at).to_le_bytes()); // e_entry
    file.extend(ELF_HEADER_LEN.to_le_bytes()); // e_phoff
    file.extend(0u64.to_le_bytes()); // e_shoff
    file.extend(0u32.to_le_bytes()); // e_flags
    file.extend((ELF_HEADER_LEN as u16).to_le_bytes()); // e_ehsize
    file.extend((PROGRAM_HEADER_LEN as u16).to_le_bytes()); // e_phentsize
    file.extend(1u16.to_le_bytes()); // e_phnum
    file.extend([0; 6]); // e_shentsize, e_shnum, e_shstrndx
    file.extend(1u32.to_le_bytes()); // p_type: PT_LOAD
    file.extend(5u32.to_le_bytes()); // p_flags: PF_R | PF_X
    file.extend(0u64.to_le_bytes()); // p_offset
    file.extend(BASE.to_le_bytes()); // p_vaddr
    file.extend(BASE.to_le_bytes()); // p_paddr
    file.extend(len.to_le_bytes()); // p_filesz
    file.extend(len.to_le_bytes()); // p_memsz
    file.extend(0x1000u64.to_le_bytes()); // p_align
    file.extend(CODE);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    #[test]
    fn it_runs_and_exits_with_0() {
        let path = std::env::temp_dir().join(format!("refan-elf-{}", std::process::id()));
        std::fs::write(&path, exit_successfully()).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("its mode");
        // Another test's fork can hold the file open for writing for a moment (ETXTBSY).
        let status = (0..100).find_map(|_| Command::new(&path).status().ok());
        std::fs::remove_file(&path).expect("removed");
        assert!(status.expect("started").success());
    }
}
