//! What tests are made of.

use std::collections::{BTreeMap, BTreeSet};

use crate::campaign::{self, Begin, Campaign, Finding, Sample};
use crate::coverage::{Coverage, File, VERSION};
use crate::gcov::Line;
use crate::mutants::Matrix;
use crate::pages::{Records, rules::Rule};

/// A file with two functions: of the first, a line was passed one way only and two of the series' were
/// not; the second was not entered.
pub fn file() -> File {
    let text = "#include <a.h>\n\n/* <says> & \"does\" */\nstatic int refuse(int x)\n{\n\tif (x > 1 && f(x)) {\n\
                \t\tx++;\n\t\t/* note */\n\t\treturn x;\n\t}\n\treturn 0;\n}\nint b(void) { return 1; }\n";
    let lines = [
        (4, 5, &[][..]),
        (6, 5, &[5, 0]),
        (7, 0, &[]),
        (9, 0, &[]),
        (11, 5, &[]),
        (12, 5, &[]),
        (13, 0, &[]),
    ];
    let line = |count, branches: &[u64]| Line { count, branches: branches.to_vec() };
    File {
        text: text.to_owned(),
        of_series: BTreeSet::from([3, 6, 7, 8, 9]),
        excluded: BTreeSet::new(),
        lines: BTreeMap::from(lines.map(|(number, count, ways)| (number, line(count, ways)))),
    }
}

/// A record of that file.
pub fn coverage() -> Coverage {
    Coverage {
        version: VERSION,
        kernel: "Linux 7.3.4 + restartable, gcov".to_owned(),
        ran: "3 programs".to_owned(),
        changes: None,
        files: BTreeMap::from([("fs/notify/fanotify/fanotify_user.c".to_owned(), file())]),
    }
}

/// A campaign of a minute with a finding.
pub fn campaign() -> Campaign {
    let sample = |n: u32| Sample {
        seconds: f64::from(n),
        runs: u64::from(n) * 40,
        edges: 900 + 40 * f64::from(n).sqrt() as usize,
        states: 100 + 3 * n as usize,
        corpus: 234 + n as usize,
    };
    Campaign {
        name: "7".to_owned(),
        begin: Begin {
            version: campaign::VERSION,
            at: 1_764_360_000,
            kernel: "Linux 7.3.4 + restartable, kcov".to_owned(),
            machine: "deterministic, 1 CPU".to_owned(),
            seed: 1,
            jobs: 2,
            corpus: 234,
        },
        samples: (1..=60).map(sample).collect(),
        findings: vec![Finding {
            seconds: 21.5,
            title: "rule R2 broken".to_owned(),
            verdict: "rule      R2, at step 9\nallowed   OPEN_PERM <f0>".to_owned(),
            repeated: (3, 3),
            program: "q = open_queue(c)\n".to_owned(),
            artifact: Some("artifacts/rule-R2-broken-fuzz-1".to_owned()),
        }],
        summary: Some(serde_json::json!({
            "runs": 2400, "unjudged": 12, "unsupported": 3, "compared": 20, "unstable": 2,
            "restarts": 4, "lost_workers": 0, "functions": 106,
            "not_entered": ["inotify_release", "dnotify_flush"],
            "reached": {"restart": 1200}, "time": {"guest": 0.9, "judging": 0.02},
        })),
    }
}

/// A kill matrix as `mutants --json` prints it.
pub const MATRIX: &str = r#"{"event":"mutant","name":"b","switch":2,"breaks":["S1"],"summary":"<b> stays","fate":"survived","seconds":3.0}
{"event":"mutant","name":"a","switch":1,"breaks":["R2"],"summary":"`order` is lost","fate":"killed","seconds":1.5,"killed_by":[{"scenario":"restart/before-unread","repeated":[2,2],"rule":"R2","right":true}]}
{"event":"mutant","name":"c","switch":null,"breaks":["X5"],"summary":"it makes no difference","fate":"apart","seconds":0.0,"why":"equivalent"}
{"event":"end","version":1,"kernels":["Linux <7>"],"unmutated":{"held":230,"unsupported":15,"programs":0},"killed":1,"judged":2,"seconds":65.0}
"#;

/// Records with something on every page.
pub fn records() -> Records {
    let rule = |number: usize| Rule {
        name: format!("R{number}"),
        title: "When the queue file is released, every pending event becomes unread again"
            .to_owned(),
        scenarios: vec!["restart/order".to_owned(); 9],
        mutants: Vec::new(),
    };
    Records {
        coverage: Some(coverage()),
        campaigns: vec![campaign()],
        artifacts: "../artifacts".to_owned(),
        matrices: vec![Matrix::read("Bugs made by hand", MATRIX).expect("a matrix")],
        rules: (1..6).map(rule).collect(),
    }
}
