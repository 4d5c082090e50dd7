//! The pages in a real browser, on a screen as wide as a phone's and on a desk's, light and dark.
//!
//! All pages stand in frames of one page, each with a line of script that measures it: a headless
//! Chromium has no window as narrow as a phone.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde::Deserialize;
use wait_timeout::ChildExt as _;

use crate::page::{STYLE, STYLE_FILE};
use crate::testing;

/// Widths of screens in CSS pixels.
const WIDTHS: [u32; 2] = [390, 1280];
/// Where pictures are left for who wants to look at them.
const PICTURES: &str = "../../target/refan/pictures";
/// How long a browser may take on a machine that has much else to do.
const PATIENCE: Duration = Duration::from_secs(170);
/// Contrast of ordinary text (WCAG 2.2, 1.4.3).
const CONTRAST: f64 = 4.5;

/// What a page says of itself.
#[derive(Debug, Deserialize)]
struct Measured {
    page: String,
    /// Of the screen and of the content.
    width: u32,
    content: u32,
    dark: bool,
    back: String,
    text: String,
    /// Text that is seen at all.
    words: usize,
    /// Of each picture: its width, and whether its curve lies inside.
    pictures: Vec<(f64, bool)>,
    /// Its stylesheet was found.
    styled: bool,
}

const MEASURE: &str = r#"<script>addEventListener("load", () => {
const root = document.documentElement, style = getComputedStyle(document.body);
const inside = (svg) => { const a = svg.getBoundingClientRect(), c = svg.querySelector(".curve");
  const b = c.getBoundingClientRect();
  return [a.width, b.width > 0 && b.left >= a.left - 1 && b.right <= a.right + 1 && b.top >= a.top - 1 && b.bottom <= a.bottom + 1]; };
parent.postMessage({ page: location.pathname.split("/").pop(), width: innerWidth, content: root.scrollWidth,
  dark: matchMedia("(prefers-color-scheme: dark)").matches, back: style.backgroundColor, text: style.color,
  words: document.body.innerText.split(/\s+/).length, pictures: [...document.querySelectorAll("svg")].map(inside),
  styled: getComputedStyle(document.querySelector("nav")).display === "flex" }, "*"); });</script>"#;

const LISTEN: &str = r#"<!doctype html><meta charset="utf-8"><meta name="color-scheme" content="light dark">
<style>body{margin:8px;display:flex;gap:8px;flex-wrap:wrap;align-items:flex-start}iframe{border:1px solid gray;height:1100px;flex:none}</style>
<pre id="told" hidden></pre><script>const told = [];
addEventListener("message", (it) => { told.push(it.data); document.getElementById("told").textContent = JSON.stringify(told); });</script>
"#;

fn chromium() -> Command {
    let mut command = Command::new("chromium");
    command.args([
        "--headless",
        "--disable-gpu",
        "--hide-scrollbars",
        "--virtual-time-budget=20000",
    ]);
    // It refuses to run with its sandbox as root; what it opens was written here.
    command.arg("--no-sandbox").stdin(Stdio::null()).stderr(Stdio::null());
    command
}

/// Runs the browser to its end and returns what it wrote.
fn run(mut command: Command, output: &Path) -> String {
    let file = std::fs::File::create(output).expect("a file for the browser's output");
    let mut child = command.stdout(file).spawn().unwrap_or_else(|error| {
        panic!("Chromium cannot be run ({error}): `cargo xtask ci pr --install-deps` installs it")
    });
    let Some(status) = child.wait_timeout(PATIENCE).expect("the browser's status") else {
        child.kill().expect("killed");
        child.wait().expect("reaped");
        panic!("Chromium has not ended after {PATIENCE:?}");
    };
    assert!(status.success(), "Chromium ended with {status}");
    std::fs::read_to_string(output).expect("the browser's output")
}

/// A site with something on every page, and a page that shows them all.
fn site(folder: &Path) -> (PathBuf, Vec<String>) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).expect("written");
    write(STYLE_FILE, STYLE);
    let mut frames = LISTEN.to_owned();
    let mut names = Vec::new();
    for page in testing::records().pages() {
        write(&page.file, &page.html.replacen("</head>", &format!("{MEASURE}</head>"), 1));
        names.push(page.file);
    }
    for width in WIDTHS {
        for name in &names {
            writeln!(frames, "<iframe src=\"{name}\" width=\"{width}\"></iframe>").expect("text");
        }
    }
    write("frames.html", &frames);
    (folder.join("frames.html"), names)
}

/// What the pages say of themselves under a colour scheme.
fn measured(folder: &Path, page: &Path, dark: bool) -> Vec<Measured> {
    let profile = format!("--user-data-dir={}", folder.join("profile").display());
    // `blink::mojom::PreferredColorScheme`: dark is 0.
    let scheme = format!("--blink-settings=preferredColorScheme={}", u8::from(!dark));
    let address = format!("file://{}", page.display());
    let mut command = chromium();
    command.args([&profile, &scheme, "--dump-dom", &address]);
    let text = run(command, &folder.join("dom"));
    let told =
        text.split("<pre id=\"told\" hidden=\"\">").nth(1).and_then(|it| it.split('<').next());
    let told = told.unwrap_or_default().replace("&quot;", "\"").replace("&amp;", "&");
    let measured = serde_json::from_str(&told).unwrap_or_else(|error| panic!("{error}: {text}"));
    let pictures = Path::new(env!("CARGO_MANIFEST_DIR")).join(PICTURES);
    std::fs::create_dir_all(&pictures).expect("a folder");
    let picture = pictures.join(if dark { "dark.png" } else { "light.png" });
    let shot = format!("--screenshot={}", picture.display());
    let mut command = chromium();
    command.args([&profile, &scheme, &shot, "--window-size=2860,7000", &address]);
    run(command, &folder.join("log"));
    assert!(std::fs::metadata(&picture).expect("a picture").len() > 10_000);
    measured
}

/// Relative luminance of `rgb(1, 2, 3)` (WCAG 2.2).
fn luminance(colour: &str) -> f64 {
    let parts = colour.trim_start_matches("rgb(").trim_end_matches(')').split(',');
    let parts = parts.map(|part| part.trim().parse::<f64>().expect("a colour") / 255.0);
    let linear = |part: f64| match part {
        ..=0.040_45 => part / 12.92,
        _ => ((part + 0.055) / 1.055).powf(2.4),
    };
    parts.map(linear).zip([0.2126, 0.7152, 0.0722]).map(|(part, weight)| part * weight).sum()
}

#[test]
#[ignore = "needs Chromium; `cargo xtask ci pr` runs it"]
fn pages_fit_phones_and_desks_light_and_dark() {
    let folder = tempfile::tempdir().expect("a folder");
    let (page, names) = site(folder.path());
    for dark in [false, true] {
        let all = measured(folder.path(), &page, dark);
        assert_eq!(all.len(), names.len() * WIDTHS.len(), "every page in every width: {all:?}");
        for page in &all {
            let Measured { width, content, back, text, words, pictures, .. } = page;
            assert!(WIDTHS.iter().any(|it| width.abs_diff(*it) < 20), "{page:?}");
            assert!(content <= width, "it has to be moved sideways: {page:?}");
            assert!(page.styled && page.dark == dark, "{page:?}");
            let (light, dim) = (luminance(back), luminance(text));
            let contrast = (light.max(dim) + 0.05) / (light.min(dim) + 0.05);
            assert!(contrast >= CONTRAST && (light < dim) == dark, "{contrast}: {page:?}");
            assert!(*words > 10, "{page:?}");
            assert!(pictures.iter().all(|(width, inside)| *width > 200.0 && *inside), "{page:?}");
            let of_campaign = page.page.starts_with("campaign-");
            assert_eq!(pictures.len(), if of_campaign { 4 } else { 0 }, "{page:?}");
        }
    }
}
