//! The C file as a whole.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use refan_program::{Call, Inode, Mount, Path, PathKind, Program, Step, Sysctl, Task};

use super::expected::{Expected, SHOWN_FLAGS};
use super::helpers::{bare, mentions, used_by};
use super::story::{Story, Writer, plain};
use super::{Form, NoForm, Source, names};

/// Where everything is; nobody else sees what is mounted there.
const BASE: &str = "/tmp";
/// How often calls are made at the same time, each time with other starts.
const ROUNDS: u32 = 600;
/// How much a start moves from one round to the next.
const SHIFT_NS: u32 = 50;
/// The file system that `ext` files are on.
const IMAGE: &[u8] = include_bytes!("../../../agent/src/ext4.img");

/// Writes it.
pub(super) fn of(source: &Source<'_>, form: Form) -> Result<String, NoForm> {
    let program = source.program;
    let end = source.end();
    for (step, made) in program.steps[..end].iter().enumerate() {
        if let call @ (Call::FailNth { .. } | Call::KernelLog) = made.call.innermost() {
            return Err(NoForm::Call { step, call: call.name().unwrap_or_default().to_owned() });
        }
    }
    let expected = Expected::of(program, end, source.api)?;
    let Story { cases, steps } = Writer::new(source, &expected, end).write()?;
    let file = File { source, steps: &program.steps[..end], form };
    let mut body = String::new();
    let serves = !cases.is_empty() || mentions(&bare(&steps), "serve");
    if serves {
        body += &format!(
            "\n/* The calls of tasks that make more than one: each when its turn has come. */\n\
             static void __attribute__((noreturn)) serve(void)\n{{\n\tfor (;;) {{\n\
             \t\tswitch (next_order()) {{\n{cases}\t\t}}\n\t}}\n}}\n"
        );
    }
    body +=
        &format!("\n/* What happens, step by step. */\nstatic void story(void)\n{{\n{steps}}}\n");
    body += &file.set_up();
    body += &file.run();
    body += &file.ending();
    let helpers = used_by(&body);
    let code = bare(&format!("{helpers}{body}"));
    let mut text = file.comment();
    text += &file.includes();
    text += &file.defines(&code);
    text += &file.declarations(&code, &expected, end);
    text += &file.files();
    if mentions(&code, "image") {
        text += &image();
    }
    text += &helpers;
    text += &body;
    Ok(text)
}

struct File<'a> {
    source: &'a Source<'a>,
    steps: &'a [Step],
    form: Form,
}

impl File<'_> {
    fn program(&self) -> &Program {
        self.source.program
    }

    /// What it is about, and how it is used.
    fn comment(&self) -> String {
        let program = self.program();
        let mut text = "// SPDX-License-Identifier: GPL-2.0\n/*\n".to_owned();
        let mut line = |line: &str| {
            for folded in folded(&plain(line)) {
                text += format!(" * {folded}").trim_end();
                text.push('\n');
            }
        };
        program.header.iter().for_each(|told| line(told));
        if let Some(found) = &self.source.found {
            line("");
            match found.step {
                Some(step) => line(&format!("A kernel was seen to be wrong in step {}:", step + 1)),
                None => line("What a kernel was seen to do:"),
            }
            found.told.iter().for_each(|told| line(&format!("  {told}")));
        }
        line("");
        line("The steps:");
        for (number, step) in self.steps.iter().enumerate() {
            let together = if step.block.is_some() { "| " } else { "" };
            line(&format!("  {:>2}. {together}{}", number + 1, program.step_text(step)));
        }
        line("");
        if self.form == Form::Program {
            line("Build it with: cc -static -pthread -Wall -Wextra -o repro repro.c");
            line(
                "Run it as root. It exits with 0 if the kernel is right, with 1 and a sentence if it is \
                 wrong, and with 2 where it cannot be tried.",
            );
        }
        text + " */\n"
    }

    fn includes(&self) -> String {
        const STANDARD: [&str; 15] = [
            "errno",
            "fcntl",
            "poll",
            "sched",
            "signal",
            "stdarg",
            "stddef",
            "stdio",
            "stdlib",
            "string",
            "time",
            "unistd",
            "linux/loop",
            "linux/types",
            "linux/userfaultfd",
        ];
        const SYSTEM: [&str; 15] = [
            "epoll", "fanotify", "ioctl", "mman", "mount", "prctl", "resource", "select", "socket",
            "stat", "syscall", "time", "types", "un", "wait",
        ];
        let mut text = "\n#define _GNU_SOURCE\n".to_owned();
        for name in STANDARD {
            let _ = writeln!(text, "#include <{name}.h>");
        }
        for name in SYSTEM {
            let _ = writeln!(text, "#include <sys/{name}.h>");
        }
        if self.form == Form::Selftest {
            text += "\n#include \"../../kselftest_harness.h\"\n";
        }
        text
    }

    /// What headers may lack, and constants.
    fn defines(&self, code: &str) -> String {
        let mut text = String::new();
        let mut fallback = |name: &str, value: &str| {
            if mentions(code, name) {
                let _ = write!(text, "\n#ifndef {name}\n#define {name}\t{value}\n#endif\n");
            }
        };
        let Source { init_flag, api, .. } = self.source;
        fallback(init_flag, &format!("{:#010x}", api.init_flag));
        let (group, number) = (api.open_queue_ioctl >> 8 & 0xff, api.open_queue_ioctl & 0xff);
        let ioctl = match u8::try_from(group).map(char::from) {
            Ok(letter) if api.open_queue_ioctl >> 16 == 0 && letter.is_ascii_alphabetic() => {
                format!("_IO('{letter}', {number:#04X})").replace("0X", "0x")
            }
            _ => format!("{:#x}", api.open_queue_ioctl),
        };
        fallback("FAN_IOC_OPEN_QUEUE_FD", &ioctl);
        names::NEW.iter().for_each(|(name, value)| fallback(name, value));

        text.push('\n');
        for mount in Mount::ALL {
            let at = format!("AT_{}", mount.location()[1..].to_uppercase());
            if mentions(code, &at) {
                let _ = writeln!(text, "#define {at}\t\"{BASE}{}\"", mount.location());
            }
        }
        for path in self.paths() {
            let _ = writeln!(text, "#define {}\t\"{BASE}{}\"", names::path(path), path.location());
        }
        let constants = [
            ("BASE", format!("\"{BASE}\"")),
            ("BUFFER", Program::MAX_READ.to_string()),
            ("FDS", "256".to_owned()),
            ("PAGER", "250".to_owned()),
            ("SHOWN_FLAGS", format!("{:#o}", SHOWN_FLAGS.bits()).replace("0o", "0")),
            ("IMAGE_BYTES", IMAGE.len().to_string()),
            ("LIMITS", self.limits().len().to_string()),
        ];
        for (name, value) in constants {
            if mentions(code, name) {
                let _ = writeln!(text, "#define {name}\t{value}");
            }
        }
        text
    }

    /// Tasks, and what they share.
    fn declarations(&self, code: &str, expected: &Expected, end: usize) -> String {
        let program = self.program();
        let mut text = "\nenum { RIGHT, WRONG, CANNOT };\n\nenum {\n\tFIRST = -1,\n".to_owned();
        let tasks: Vec<Task> = (0u8..).map(Task).take(program.tasks.len()).collect();
        for task in &tasks {
            let _ = writeln!(text, "\t{},", names::task(program, *task));
        }
        text += "\tTASKS,\n};\n\nstatic const char *const tasks[] = {\n";
        for task in &tasks {
            let _ = writeln!(text, "\t{},", names::literal(program.task_name(*task)));
        }
        let steps = end + 1;
        let _ = write!(
            text,
            "}};\n\n#define STEPS\t{steps}\n\n\
             /* A step, and what its call has come to. */\n\
             struct step {{\n\tchar text[160], result[1024], noted[1024];\n\
             \tint task, begun, done, untold, waits, priority;\n\tlong start;\n\tunsigned long missing;\n}};\n\n\
             /* What all processes share. */\n\
             static struct shared {{\n\
             \tint verdict;\n\tchar why[4096], history[4096];\n\
             \tstruct step steps[STEPS];\n\
             \tint pids[TASKS], ended[TASKS], signaled[TASKS], orders[TASKS];\n\
             \tstruct {{\n\t\tdev_t dev;\n\t\tino_t ino;\n\t}} files[64];\n\
             \tint latest, round, branches, armed;\n\tlong shift;\n\tlong long instant;\n"
        );
        if !program.vars.is_empty() {
            text += "\t/* The fds, and the events by the numbers of theirs. */\n\tint none";
            for number in 0..program.vars.len() {
                let var = refan_program::Var(u16::try_from(number).unwrap_or(u16::MAX));
                let _ = write!(text, ", {}", names::member(program, var));
            }
            text += ";\n";
        }
        text += "} *v;\n\n/* The step that this process makes. */\nstatic int now;\n";
        if mentions(code, "me") {
            text += "/* Who this process is. */\nstatic int me = FIRST;\n";
        }
        if !expected.ways.is_empty() {
            text += "\n/* What the steps can come to. */\nstatic const char *const allowed[] = {\n";
            for way in &expected.ways {
                let _ = writeln!(text, "\t{},", names::literal(way));
            }
            text += "};\n";
        }
        if !self.limits().is_empty() {
            text += "\nstatic const char *const limit_names[LIMITS] = {\n";
            for limit in self.limits() {
                let _ = writeln!(text, "\t\"{}\",", limit.name());
            }
            text += "};\n";
        }
        text
    }

    /// The limits that are changed.
    fn limits(&self) -> Vec<Sysctl> {
        let changes = |limit: &Sysctl| {
            let sets = |step: &Step| matches!(step.call.innermost(), Call::Sysctl { name, .. } if name == limit);
            self.steps.iter().any(sets)
        };
        Sysctl::ALL.into_iter().filter(changes).collect()
    }

    fn paths(&self) -> BTreeSet<Path> {
        self.steps.iter().filter_map(|step| step.call.path()).collect()
    }

    /// The files, with what they hold in the beginning.
    fn files(&self) -> String {
        let paths = self.paths();
        let ways = paths.iter().flat_map(|path| [path.inode(), path.followed().inode()]);
        let inodes: BTreeSet<Inode> = ways.collect();
        let parents: BTreeSet<Path> = inodes
            .iter()
            .filter(|inode| inode.kind() == PathKind::Child)
            .map(|inode| Path { kind: PathKind::Dir, index: inode.path().index })
            .collect();
        let all: BTreeSet<Inode> =
            inodes.into_iter().chain(parents.iter().map(|path| path.inode())).collect();
        let mut text = String::new();
        for inode in all.iter().filter(|inode| is_executable(**inode)) {
            let bytes = inode.contents().unwrap_or_default();
            let what = match inode.kind() {
                PathKind::Waiter => "that waits to be killed",
                _ => "that exits with status 0",
            };
            let _ = write!(
                text,
                "\n/* A program {what}. */\nstatic const unsigned char bytes_{inode}[] = {{\n"
            );
            for row in bytes.chunks(12) {
                let row: Vec<String> = row.iter().map(|byte| format!("{byte:#04x},")).collect();
                let _ = writeln!(text, "\t{}", row.join(" "));
            }
            text += "};\n";
        }
        text += "\n/* The files as they are in the beginning. */\nstatic const struct file {\n\
                 \tconst char *name, *path;\n\tconst void *bytes;\n\tint len, mode;\n\
                 \tconst char *target;\n} files[] = {\n";
        for inode in all {
            let at = names::literal(&format!("{BASE}{}", inode.path().location()));
            let rest = match inode.contents() {
                Some(_) if is_executable(inode) => {
                    format!("bytes_{inode}, sizeof(bytes_{inode}), 0777, NULL")
                }
                Some(bytes) => {
                    let literal = names::literal(&String::from_utf8_lossy(&bytes));
                    format!("{literal}, {}, 0666, NULL", bytes.len())
                }
                None if inode.kind() == PathKind::Symlink => {
                    format!("NULL, 0, 0, \"{}\"", inode.path().followed())
                }
                None => "NULL, 0, 0, NULL".to_owned(),
            };
            let _ = writeln!(text, "\t{{ \"{inode}\", {at}, {rest} }},");
        }
        text + "\t{ NULL, NULL, NULL, 0, 0, NULL },\n};\n"
    }

    fn mounts(&self) -> BTreeSet<Mount> {
        self.paths().iter().map(|path| path.mount()).chain([Mount::Tmpfs]).collect()
    }

    /// File systems of its own.
    fn set_up(&self) -> String {
        let mut text = "\n/* File systems that nobody else sees, and signals. */\nstatic void set_up(void)\n{\n".to_owned();
        let program = self.program();
        if program.is_restartable() {
            let _ = write!(
                text,
                "\tint group = fanotify_init(FAN_CLASS_CONTENT | {}, O_RDONLY);\n\n",
                self.source.init_flag
            );
        }
        text += "\tif (geteuid())\n\t\tcannot(\"it has to be run by root\");\n";
        if program.is_restartable() {
            text += "\tif (group < 0)\n\t\tcannot(\"this kernel has no restartable permission events: %s\",\n\
                     \t\t       strerror(errno));\n\tclose(group);\n";
        }
        let _ = write!(
            text,
            "\tif (unshare(CLONE_NEWNS) || mount(\"none\", \"/\", NULL, MS_REC | MS_PRIVATE, NULL))\n\
             \t\tcannot(\"no mounts can be made: %s\", strerror(errno));\n\
             \tmount_on(\"none\", BASE, \"tmpfs\", 0);\n"
        );
        for mount in self.mounts() {
            let at = format!("AT_{}", mount.location()[1..].to_uppercase());
            let line = match mount {
                Mount::Tmpfs => format!("mount_on(\"none\", {at}, \"tmpfs\", 0);"),
                Mount::Second => format!("mount_on(AT_T, {at}, NULL, MS_BIND);"),
                Mount::Ext4 => format!("mount_on(ext4_device(), {at}, \"ext4\", 0);"),
            };
            let _ = writeln!(text, "\t{line}");
        }
        if self.steps.iter().any(|step| matches!(step.call.innermost(), Call::Signal { .. })) {
            text += "\thandle_signals();\n";
        }
        if self.steps.iter().any(|step| matches!(step.call.innermost(), Call::OpenQueue32 { .. })) {
            text += "\ttry_32_bit_calls();\n";
        }
        if !self.limits().is_empty() {
            text += "\tsave_limits();\n";
        }
        text + "}\n"
    }

    /// All of it, from file systems to the verdict.
    fn run(&self) -> String {
        let races = self.steps.iter().any(|step| step.block.is_some());
        let timed = self.steps.iter().find_map(|step| step.start);
        let swept = timed.is_some_and(|start| start.at == refan_program::Offset::Sweep);
        let leaks = self.source.found.as_ref().is_some_and(|found| found.leaks);
        let rounds = if races { ROUNDS } else { 1 };
        let mut text = "\n/* One round in processes of its own. */\nstatic void make_round(void)\n{\n\tint pid;\n\n".to_owned();
        if !self.program().vars.is_empty() {
            text += "\t/* An fd that nothing was opened by is -1. */\n\
                     \tmemset(&v->none, -1, sizeof(*v) - offsetof(struct shared, none));\n";
        }
        text += "\tmake_files();\n\tpid = fork();\n\tif (!pid) {\n\t\tstory();\n\t\t_exit(0);\n\t}\n\
                 \tawait_round(pid);\n}\n\n";
        text += "/* All of it; returns RIGHT, WRONG or CANNOT. */\nstatic int run(void)\n{\n";
        text += "\tint round, pid, status;\n\n\
                 \tv = mmap(NULL, sizeof(*v), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);\n\
                 \tif (v == MAP_FAILED)\n\t\treturn CANNOT;\n\
                 \t/* A process of its own, whose end is the end of what it has mounted. */\n\
                 \tpid = fork();\n\tif (pid) {\n\
                 \t\twaitpid(pid, &status, 0);\n\
                 \t\tif (!v->verdict && (!WIFEXITED(status) || WEXITSTATUS(status)))\n\
                 \t\t\treturn CANNOT;\n\
                 \t\treturn v->verdict;\n\t}\n\
                 \tset_up();\n";
        if leaks {
            text += "\tint groups = groups_left();\n\tlong opened = files_open();\n\n";
        }
        let _ = writeln!(text, "\tfor (round = 0; round < {rounds} && !v->verdict; round++) {{");
        text += "\t\tstruct shared empty = { .round = round };\n\n";
        if races {
            if swept || timed.is_none() {
                let _ = writeln!(text, "\t\tempty.shift = round * {SHIFT_NS};");
            } else {
                let _ = write!(
                    text,
                    "\t\t/* The start of what preempts moves away from where it was found, to either side. */\n\
                     \t\tempty.shift = (round % 4 < 2 ? 1 : -1) * (round / 4) * {SHIFT_NS}L;\n"
                );
            }
        }
        text += "\t\t*v = empty;\n\t\tmake_round();\n\t}\n";
        if !self.limits().is_empty() {
            text += "\trestore_limits();\n";
        }
        text += "\tif (v->verdict)\n\t\t_exit(v->verdict);\n";
        for mount in self.mounts().iter().rev() {
            let _ = writeln!(text, "\tunmount(AT_{});", mount.location()[1..].to_uppercase());
        }
        if leaks {
            text += "\tif (groups_left() != groups)\n\
                     \t\twrong(\"when all tasks have ended there is room for %d groups, where there was for %d\",\n\
                     \t\t      groups_left(), groups);\n\
                     \tif (files_open() > opened)\n\
                     \t\twrong(\"when all tasks have ended %ld files are open, where %ld were\",\n\
                     \t\t      files_open(), opened);\n";
        }
        text + "\t_exit(RIGHT);\n}\n"
    }

    fn ending(&self) -> String {
        match self.form {
            Form::Program => "\nint main(void)\n{\n\tint verdict = run();\n\n\
                 \tif (verdict)\n\t\tfprintf(stderr, \"%s: %s\\n\", verdict == WRONG ? \"wrong\" : \"cannot be tried\",\n\
                 \t\t\tv->why);\n\telse\n\t\tprintf(\"right\\n\");\n\treturn verdict;\n}\n"
                .to_owned(),
            Form::Selftest => format!(
                "\nTEST({})\n{{\n\tint verdict = run();\n\n\
                 \tif (verdict == CANNOT)\n\t\tSKIP(return, \"%.1000s\", v->why);\n\
                 \tASSERT_EQ(RIGHT, verdict) {{\n\t\tTH_LOG(\"%s\", v->why);\n\t}}\n}}\n\n\
                 TEST_HARNESS_MAIN\n",
                self.test_name()
            ),
        }
    }

    /// What a test is called: the words of its title.
    fn test_name(&self) -> String {
        let mut name = String::new();
        for c in self.program().title().chars() {
            match (c.is_ascii_alphanumeric(), name.ends_with('_') || name.is_empty()) {
                (true, _) => name.push(c.to_ascii_lowercase()),
                (false, false) => name.push('_'),
                (false, true) => {}
            }
        }
        let name = name.trim_matches('_');
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
            format!("restartable_{name}").trim_end_matches('_').to_owned()
        } else {
            name.to_owned()
        }
    }
}

fn is_executable(inode: Inode) -> bool {
    matches!(inode.kind(), PathKind::Exec | PathKind::Waiter)
}

/// The ext4, as far as it is not zeros.
fn image() -> String {
    let mut text =
        "\n/* An ext4 with four small files: what of it is not 0. */\nstatic const struct {\n\
                    \tint at;\n\tunsigned char bytes[16];\n} image[] = {\n"
            .to_owned();
    for (number, row) in IMAGE.chunks(16).enumerate() {
        if row.iter().any(|byte| *byte != 0) {
            let bytes: Vec<String> = row.iter().map(|byte| format!("{byte:#x}")).collect();
            let _ = writeln!(text, "\t{{ {:#x}, {{ {} }} }},", number * 16, bytes.join(", "));
        }
    }
    text + "};\n"
}

/// A line in pieces that a comment has room for; what follows the first one stands further in.
fn folded(line: &str) -> Vec<String> {
    const WIDTH: usize = 96;
    let indent: String = line.chars().take_while(|c| *c == ' ').collect();
    let mut lines = vec![String::new()];
    for word in line.trim_start().split(' ') {
        let last = lines.len() - 1;
        let used = lines[last].len();
        if used > 0 && indent.len() + used + 1 + word.len() > WIDTH {
            lines.push(format!("    {word}"));
        } else {
            if used > 0 {
                lines[last].push(' ');
            }
            lines[last] += word;
        }
    }
    lines.into_iter().map(|rest| format!("{indent}{rest}")).collect()
}
