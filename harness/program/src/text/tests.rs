use super::parse;

/// The example of the design, which is canonical.
const EXAMPLE: &str = include_str!("../../tests/golden/restart.scn");

/// Every call and every form of expectation.
const EVERYTHING: &str = include_str!("../../tests/golden/every_call.scn");

/// Blocks in all their forms.
const BLOCKS: &str = include_str!("../../tests/golden/blocks.scn");

#[test]
fn what_is_canonical_prints_as_it_was_read() {
    for text in [EXAMPLE, EVERYTHING, BLOCKS, "", "# only a header\n"] {
        let program = parse(text).unwrap_or_else(|error| panic!("{}", error.render("text", text)));
        assert_eq!(program.validate(), Ok(()));
        assert_eq!(program.to_string(), text);
    }
}

#[test]
fn layout_is_free_and_becomes_canonical() {
    let loose =
        "#R1: x\n\n  c=fanotify_init(RESTARTABLE|CLASS_CONTENT,0)->0\n\n\t#  y\nclose( c )\n";
    let strict = "# R1: x\n\
                  c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY) -> 0\n\
                  #  y\n\
                  close(c)\n";
    assert_eq!(parse(loose).expect("a program").to_string(), strict);
}

/// Line, column and message of the error in a text.
fn error(text: &str) -> (usize, usize, String) {
    let error = parse(text).expect_err("an error");
    (error.line, error.column, error.to_string())
}

#[test]
fn errors_have_their_place() {
    let before =
        "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\na = spawn open(f0, 0)\n";
    for (step, column, message) in [
        ("open_que(c)", 1, "found `open_que`, expected a call; did you mean `open_queue`?"),
        (
            "open_queue(cc)",
            12,
            "found `cc`, which no earlier step binds, expected an fd, an event \
             or a number; did you mean `c`?",
        ),
        ("close(a)", 7, "found `a`, a task, expected an fd, an event or a number"),
        ("close(f0)", 7, "found `f0`, a file, expected an fd, an event or a number"),
        ("kill(c)", 6, "found `c`, an fd, expected a task"),
        ("kill(main)", 1, "found `main`, expected another task"),
        ("c", 1, "found `c`, an fd, expected a task"),
        ("c = open_queue(c)", 1, "found `c`, which line 1 binds, expected a new name"),
        ("x, x = read(c)", 4, "found `x` again, expected a new name"),
        ("q, p = open_queue(c)", 4, "found `p`, expected one name"),
        (
            "q = close(c)",
            1,
            "found a name, expected the call alone: it returns nothing that could be \
          named",
        ),
        (
            "read = open_queue(c)",
            1,
            "found `read`, a call, expected a name that means nothing else",
        ),
        ("d1 = fork()", 1, "found `d1`, a file, expected a name that means nothing else"),
        ("Q = fork()", 1, "found `Q`, expected a name like `a`, `q2` or `new_queue`"),
        ("fork()", 1, "found a new task without a name, expected `NAME = ` before it"),
        ("b = spawn fork()", 5, "found `fork` behind `spawn`, expected another call"),
        ("b = spawn a", 5, "found a task behind `spawn`, expected another call"),
        (
            "a: close(c)",
            1,
            "found a step of a spawned task, which makes one call, expected a forked \
          task",
        ),
        (
            "exec(x0)",
            1,
            "found `exec` of `main`, expected that of another task: `a = spawn exec(x0)`",
        ),
        ("exit()", 1, "found `exit` of `main`, expected `exit` of a forked task"),
        (
            "fanotify_mark(c, AD, OPEN_PERM, f0)",
            18,
            "found `AD`, expected a flag of fanotify_mark or \
          its bits as `0x…`; did you mean `ADD`?",
        ),
        (
            "fanotify_mark(c, ADD, OPENPERM, f0)",
            23,
            "found `OPENPERM`, expected an event or its bits \
          as `0x…`; did you mean `OPEN_PERM`?",
        ),
        (
            "fanotify_mark(c, ADD, OPEN_PERM, f9)",
            34,
            "found `f9`, expected a file (`f0`, `d0`, `d0/f`, \
          `x0`, `w0`, `ext0`, `s0`, `m0`; 0 to 3 of each); did you mean `f0`?",
        ),
        ("fanotify_mark(c, ADD)", 21, "found `)`, expected `,`"),
        ("close(c", 8, "found the end of the line, expected `)`"),
        ("close(c) c", 10, "found `c`, expected `->` or the end of the line"),
        (
            "close(c) # done",
            10,
            "found `#`, expected a comment on a line of its own, above the step",
        ),
        ("read(c, 99999999999)", 9, "found `99999999999`, expected a size, 0 to 4294967295"),
        (
            "read_fault(c, 24, 25)",
            1,
            "found 25 bytes that are there of a buffer of 24, expected no more than the buffer has",
        ),
        ("page_in(nobody)", 9, "found `nobody`, which no earlier step makes, expected a task"),
        ("pwrite(c, x)", 11, "found `x`, expected a text in quotes"),
        ("pwrite(c, \"é\")", 1, "found the text \"é\", expected at most 64 characters of ASCII"),
        ("read(c, 65537)", 1, "found a buffer of 65537 bytes, expected at most 65536"),
        (
            "open_queue(c) -> EBUSI",
            18,
            "found `EBUSI`, expected a number, an errno, `blocked` or \
          `killed`; did you mean `EBUSY`?",
        ),
        ("close(c) -> IN", 13, "found `IN`, expected a number, an errno, `blocked` or `killed`"),
        (
            "poll(c) -> 1",
            12,
            "found what this call does not return, expected poll events, `0`, an \
          errno, `blocked` or `killed`",
        ),
        (
            "read(c) -> OPEN_PERM f0 by q",
            28,
            "found `q`, which no earlier step makes, expected a task",
        ),
        ("readlink(c) -> \"ab", 19, "found the end of the line, expected `\"`"),
        (
            "readlink(c) -> \"a\\b\"",
            18,
            "found `\\\\`, expected `\\n`, `\\t`, `\\\"`, `\\\\` or `\\u{…}`",
        ),
        (
            "write(c, -1, DENY | errno(300))",
            21,
            "found error number 300, expected one that fits a \
          byte",
        ),
        (
            "sysctl(max_queued_event, 1)",
            8,
            "found `max_queued_event`, expected max_queued_events, \
          max_user_groups, max_user_marks or watchdog_timeout; did you mean `max_queued_events`?",
        ),
        (
            "close(c) & x",
            10,
            "found `&`, expected a step: `[TASK:] [NAME =] CALL [@ START] [-> EXPECTATION]`",
        ),
        ("= 7", 1, "found `=`, expected a call or a task"),
    ] {
        assert_eq!(error(&format!("{before}{step}\n")), (3, column, message.to_owned()), "{step}");
    }
    assert_eq!(
        error(&format!("{before}# end\n\n")),
        (3, 1, "found a comment at the end, expected a step below it".to_owned())
    );
}

#[test]
fn errors_in_blocks_have_their_place() {
    let before = "c = fanotify_init(CLASS_CONTENT | RESTARTABLE, O_RDONLY)\nd = fork()\n\
        a = spawn open(f0, O_RDONLY)\npar {\n";
    for (steps, line, column, message) in [
        ("}", 5, 1, "found `}`, expected a step"),
        ("close(c)", 4, 1, "found a block without an end, expected `}` on a line below it"),
        ("par {", 5, 1, "found `par` in the block of line 4, expected a step or `}`"),
        ("close(c)\n}\n}", 7, 1, "found `}`, expected a step or `par {`"),
        ("close(c)\n} close(c)", 6, 3, "found `close`, expected the end of the line"),
        (
            "close(c)\n# x\n}",
            7,
            1,
            "found a comment at the end of a block, expected a step below it",
        ),
        (
            "b = fork()\nb: close(c)",
            6,
            4,
            "found a step of a task that this block makes, expected it behind the block",
        ),
        (
            "page_in(d)\nd: read_missing(c, 24, 0)",
            6,
            4,
            "found a read whose buffer the same block lets in, expected it before or behind the \
          block",
        ),
        (
            "d: read_missing(c, 24, 0)\npage_in(d)",
            6,
            1,
            "found the buffer of a read in the same block, expected it before or behind the block",
        ),
        ("a", 5, 1, "found an await in a block, expected it before or behind the block"),
        (
            "sysctl(max_user_marks, 1)",
            5,
            1,
            "found `sysctl` in a block, expected it before or behind the block",
        ),
        ("signal(a)", 5, 1, "found `signal` in a block, expected it before or behind the block"),
        (
            "q = open_queue(c)\nread(q)\nd: read(q)",
            7,
            4,
            "found a variable that another branch of this block binds, expected one from before \
          the block or of the same branch",
        ),
        (
            "q = open_queue(c)\nb = spawn read(q)",
            6,
            5,
            "found a variable that another branch of this block binds, expected one from before \
          the block or of the same branch",
        ),
        (
            "b = spawn read(c)\nd: kill(b)",
            6,
            4,
            "found a task that this block makes, expected one from before the block",
        ),
        (
            "close(c)\nclose(c) @ 5ns",
            6,
            10,
            "found a start behind the first step of its branch, expected it at the first step of \
          that task in the block",
        ),
        (
            "close(c) @ sweep\nd: dup(c) @ sweep",
            6,
            11,
            "found a second sweep, expected one in a program",
        ),
        ("close(c) @ 5ns prio 10", 5, 10, "found priority 10, expected 1 to 9"),
        ("close(c) @ 5ns prio 0", 5, 10, "found priority 0, expected 1 to 9"),
        ("close(c) @ 5ns prio x", 5, 21, "found `x`, expected a priority, 1 to 9"),
        (
            "close(c) @ 5us",
            5,
            12,
            "found `5us`, expected a time from `0ns` to `4294967295ns` or `sweep`",
        ),
        ("dup(c)\n}\nclose(c) @ 5ns", 7, 10, "found a start outside a block, expected no `@`"),
        (
            "dup(c)\n}\nd: kill(a)",
            7,
            1,
            "found a task, expected no task: nobody makes this step but the executor",
        ),
    ] {
        let text = format!("{before}{steps}\n");
        assert_eq!(error(&text), (line, column, message.to_owned()), "{steps}");
    }
}

#[test]
fn an_error_points_at_its_place() {
    let text = "c = fanotify_init(CLASS_CONTENT, O_RDONLY)\n\topen_que(c)\n";
    assert_eq!(
        parse(text).expect_err("an error").render("a.scn", text),
        "a.scn:2:2: found `open_que`, expected a call; did you mean `open_queue`?\n  |\n\
         2 | \topen_que(c)\n  | \t^"
    );
}

#[test]
fn an_awaited_call_says_what_can_be_expected() {
    let text = "a = spawn poll(7)\na                        -> IN\n";
    assert_eq!(parse(text).expect("a program").to_string(), text);
    assert!(parse("a = spawn close(7)\na -> IN\n").is_err());
}

#[test]
fn no_text_makes_the_parser_panic() {
    for text in [EXAMPLE, EVERYTHING, BLOCKS] {
        let chars: Vec<char> = text.chars().collect();
        for cut in 0..chars.len() {
            for put in ['\0', '"', '(', '0', '-', '\\', 'é', '\n'] {
                let mut chars = chars.clone();
                chars[cut] = put;
                let text: String = chars.into_iter().collect();
                if let Err(error) = parse(&text) {
                    assert!(error.line >= 1 && error.column >= 1);
                    let _ = error.render("x", &text);
                }
            }
        }
    }
}

#[test]
fn who_reads_into_missing_memory_gets_no_signal() {
    let made = "c = fanotify_init(CLASS_CONTENT, O_RDONLY)\nd = fork()\n";
    for (steps, line, message) in [
        (
            "d: read_missing(c, 24, 0)\nsignal(d)\n",
            4,
            "found a signal to a task that reads into missing memory, expected another task",
        ),
        (
            "a = spawn read_missing(c, 24, 0)\nsignal(d)\nsignal(a, RESTART)\n",
            5,
            "found a signal to a task that reads into missing memory, expected another task",
        ),
        (
            "signal(d)\nd: read_missing(c, 24, 0)\n",
            4,
            "found a read into missing memory by a task that gets a signal, expected `read`",
        ),
    ] {
        let error = parse(&format!("{made}{steps}")).expect_err("a signal too many");
        assert_eq!((error.line, error.to_string().as_str()), (line, message));
    }
    let wrong = parse(&format!("{made}signal(d, RESTARTED)\n")).expect_err("no such word");
    let message = "found `RESTARTED`, expected `RESTART`; did you mean `RESTART`?";
    assert_eq!(wrong.to_string(), message);
}
