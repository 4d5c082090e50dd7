//! What a program's executables hold: the smallest that Linux runs.

/// Where the file is mapped; a page above the lowest address that may be mapped.
const BASE: u64 = 0x40_0000;
const ELF_HEADER_LEN: u64 = 64;
const PROGRAM_HEADER_LEN: u64 = 56;

/// `exit_group(0)`: `mov eax, 231; xor edi, edi; syscall`.
const EXIT: [u8; 9] = [0xb8, 231, 0, 0, 0, 0x31, 0xff, 0x0f, 0x05];
/// `pause()`, again and again: `mov eax, 34; syscall; jmp` to the beginning.
const PAUSE: [u8; 9] = [0xb8, 34, 0, 0, 0, 0x0f, 0x05, 0xeb, 0xf7];

/// An executable that exits with status 0.
pub(crate) fn exit_successfully() -> Vec<u8> {
    executable(&EXIT)
}

/// An executable that waits until it is killed.
pub(crate) fn wait_forever() -> Vec<u8> {
    executable(&PAUSE)
}

/// A static 64-bit executable (`elf(5)`): one header, one segment and a few bytes of code, so the
/// kernel reads little to start it.
fn executable(code: &[u8]) -> Vec<u8> {
    let code_at = ELF_HEADER_LEN + PROGRAM_HEADER_LEN;
    let len = code_at + code.len() as u64;
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
    file.extend(code);
    file
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::process::ExitStatusExt;
    use std::process::{Child, Command};

    fn start(name: &str, file: &[u8]) -> Child {
        let path = std::env::temp_dir().join(format!("refan-{name}-{}", std::process::id()));
        std::fs::write(&path, file).expect("a file");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).expect("its mode");
        // Another test's fork can hold the file open for writing for a moment (ETXTBSY).
        let child = (0..100).find_map(|_| Command::new(&path).spawn().ok());
        std::fs::remove_file(&path).expect("removed");
        child.expect("started")
    }

    #[test]
    fn one_exits_with_0() {
        let mut child = start("exit", &exit_successfully());
        assert!(child.wait().expect("its end").success());
    }

    #[test]
    fn one_waits_until_it_is_killed() {
        let mut child = start("wait", &wait_forever());
        let call = format!("/proc/{}/syscall", child.id());
        let pauses = || std::fs::read_to_string(&call).is_ok_and(|text| text.starts_with("34 "));
        assert!((0..1000).any(|_| {
            std::thread::sleep(std::time::Duration::from_millis(1));
            pauses()
        }));
        child.kill().expect("killed");
        assert_eq!(child.wait().expect("its end").signal(), Some(9));
    }
}
