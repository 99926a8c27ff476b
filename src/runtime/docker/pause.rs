//! The program of a sandbox: it waits, and nothing else. Owns its image.
//!
//! It is an executable of some two hundred bytes, written here byte by byte, so that no compiler for it has to be there
//! when the proxy is built, and nothing has to be pulled when it runs. Its layout is that of the System V ABI: the ELF
//! header, one program header, the instructions.

/// What the image is called. Another program would need another tag: an engine keeps the one that it has.
pub(super) const IMAGE: &str = "pilotlight/sandbox";
/// See [`IMAGE`].
pub(super) const TAG: &str = "1";
/// What it runs.
pub(super) const COMMAND: &str = "/pause";

/// Where the file is mapped; anything above the lowest page.
const BASE: u64 = 0x40_0000;
const ELF_HEADER: u16 = 64;
const PROGRAM_HEADER: u16 = 56;

/// The machine's number in an ELF header, and the instructions: a system call that waits for a signal, for ever.
struct Machine {
    number: u16,
    code: &'static [u8],
}

#[cfg(target_arch = "x86_64")]
const MACHINE: Option<Machine> = Some(Machine {
    number: 62,
    code: &[
        0xb8, 34, 0, 0, 0, // mov eax, 34 (pause)
        0x0f, 0x05, // syscall
        0xeb, 0xf7, // jmp to the beginning
    ],
});

#[cfg(target_arch = "aarch64")]
const MACHINE: Option<Machine> = Some(Machine {
    number: 183,
    code: &[
        0x00, 0x00, 0x80, 0xd2, // mov x0, 0
        0x01, 0x00, 0x80, 0xd2, // mov x1, 0
        0x02, 0x00, 0x80, 0xd2, // mov x2, 0
        0x03, 0x00, 0x80, 0xd2, // mov x3, 0
        0x28, 0x09, 0x80, 0xd2, // mov x8, 73 (ppoll of nothing)
        0x01, 0x00, 0x00, 0xd4, // svc 0
        0xfa, 0xff, 0xff, 0x17, // b to the beginning
    ],
});

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const MACHINE: Option<Machine> = None;

/// The root file system of the image, as a tar archive; `None` on a processor for which there is no program here.
pub(super) fn root() -> Option<Vec<u8>> {
    let program = program(&MACHINE?);
    let mut header = tar::Header::new_ustar();
    header.set_size(program.len() as u64);
    header.set_mode(0o555);
    let mut archive = tar::Builder::new(Vec::new());
    // Into memory: there is nothing that could fail.
    archive.append_data(&mut header, COMMAND.trim_start_matches('/'), program.as_slice()).ok()?;
    archive.into_inner().ok()
}

fn program(machine: &Machine) -> Vec<u8> {
    let headers = ELF_HEADER + PROGRAM_HEADER;
    let entry = BASE + u64::from(headers);
    let length = u64::from(headers) + machine.code.len() as u64;
    let mut file = Vec::new();
    let mut put = |bytes: &[u8]| file.extend_from_slice(bytes);
    // 64 bit, little endian, version 1, System V.
    put(&[0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    put(&2_u16.to_le_bytes()); // an executable
    put(&machine.number.to_le_bytes());
    put(&1_u32.to_le_bytes()); // version
    put(&entry.to_le_bytes());
    put(&u64::from(ELF_HEADER).to_le_bytes()); // where the program header is
    put(&0_u64.to_le_bytes()); // no sections
    put(&0_u32.to_le_bytes()); // no flags
    for size in [ELF_HEADER, PROGRAM_HEADER, 1, 0, 0, 0] {
        put(&size.to_le_bytes());
    }
    put(&1_u32.to_le_bytes()); // to be loaded
    put(&5_u32.to_le_bytes()); // readable, executable
    for number in [0, BASE, BASE, length, length, 0x1000] {
        put(&number.to_le_bytes());
    }
    put(machine.code);
    file
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;
    use std::process::Command;

    use super::*;

    /// It does nothing for as long as it is let, whatever asks it to end in a polite way reaches its default.
    #[test]
    fn the_program_waits() {
        let Some(machine) = MACHINE else { return };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("pause");
        fs::write(&path, program(&machine)).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let mut child = Command::new(&path).spawn().unwrap();
        let stat = format!("/proc/{}/stat", child.id());
        // Asleep in its call, which it reaches or else ends.
        while !fs::read_to_string(&stat).unwrap().contains(") S ") {
            assert!(child.try_wait().unwrap().is_none(), "it has ended");
            std::thread::yield_now();
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn the_image_holds_the_program_alone() {
        let root = root().unwrap();
        let mut archive = tar::Archive::new(root.as_slice());
        let names: Vec<_> =
            archive.entries().unwrap().map(|it| it.unwrap().path().unwrap().into_owned()).collect();
        assert_eq!(names, [std::path::PathBuf::from("pause")]);
    }
}
