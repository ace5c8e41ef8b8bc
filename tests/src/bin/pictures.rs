//! `make pictures`: what a terminal shows while dkms works on a Debian system with three kernels, as SVG for the guide. Nothing is
//! drawn by hand: each picture is the screen of a real run, on a real pseudo-terminal, read by a parser of its escape codes.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::num::NonZero;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use dkms_tests::bed::{Base, Bed};
use dkms_tests::debs;
use dkms_tests::hello::{module, package};
use dkms_tests::needs::Need;
use dkms_tests::programs;
use dkms_tests::settings;
use vt100::{Cell, Color, Parser, Screen};

const COLUMNS: u16 = 100;
/// More than any run prints: nothing scrolls away.
const ROWS: u16 = 200;

/// Real packages of the archive that build for a cloud kernel.
const PACKAGES: &[&str] = &["acpi-call-dkms", "bbswitch-dkms", "dm-writeboost-dkms", "tp-smapi-dkms"];

/// A picture: its file, the command, and which moment of the run it shows.
struct Picture {
    /// What is done before, unseen.
    before: &'static str,
    file: &'static str,
    command: &'static str,
    moment: Moment,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Moment {
    /// When most builds run at once.
    Busiest,
    End,
}

/// In this order: later ones show what earlier ones have done.
const PICTURES: &[Picture] = &[
    Picture { before: ":", file: "progress", command: "dkms autoinstall -k {k1} -j 4", moment: Moment::Busiest },
    Picture { before: "dkms reconcile", file: "matrix", command: "dkms status --matrix", moment: Moment::End },
    Picture { before: ":", file: "why", command: "dkms why webcam -k {k1}", moment: Moment::End },
    Picture { before: ":", file: "doctor", command: "dkms doctor", moment: Moment::End },
];

fn main() -> Result<()> {
    programs::build(&[Need::Bed, Need::Subject])?;
    let base = Base::trixie()?;
    let bed = scene(&base)?;
    let kernel = bed.kernel()?.to_owned();
    let guide = settings::project().join("docs/guide");
    for picture in PICTURES {
        let command = picture.command.replace("{k1}", &kernel);
        bed.ok(picture.before)?;
        let screen = shown(&bed, &command, picture.moment)?;
        draw(&guide.join(format!("{}.svg", picture.file)), &command, &screen)?;
    }
    Ok(())
}

/// A system as users have them: drivers that build, one that does not, a kernel whose headers are missing, one package that is held.
fn scene(base: &Base) -> Result<Bed> {
    let bed = Bed::subject(base)?;
    let mut added = Vec::new();
    for name in PACKAGES {
        for source in debs::sources(base, name)? {
            let id = source.file_name().and_then(OsStr::to_str).context("a source has a name")?;
            let (name, version) = id.rsplit_once('-').context("a source has a version")?;
            bed.copy_in(&source, &format!("/usr/src/{id}"))?;
            added.push(format!("{name}/{version}"));
        }
    }
    let hand = tempfile::tempdir()?;
    let code = "void later(struct timer_list *t);\nvoid later(struct timer_list *t)\n{\n\tdel_timer_sync_all(t);\n}\n";
    let broken = package("webcam").module(module("webcam").code(code));
    bed.copy_in(&broken.build_in(hand.path())?, "/usr/src/webcam-1.0")?;
    added.push("webcam/1.0".to_owned());
    let [newest, _, oldest] = base.kernels.as_slice() else { anyhow::bail!("the bed has not three kernels") };
    // Its packages know nothing of a boot loader.
    bed.write("/boot/grub/grub.cfg", format!("menuentry 'Debian' {{\n linux /boot/vmlinuz-{newest}\n}}\n"))?;
    bed.ok(&format!(
        "rm /lib/modules/{oldest}/build; for id in {}; do dkms add $id; done; dkms hold bbswitch -k {oldest}",
        added.join(" ")
    ))?;
    Ok(bed)
}

/// The screen at a moment of the run of `command`.
fn shown(bed: &Bed, command: &str, moment: Moment) -> Result<Screen> {
    let inner = format!("stty cols {COLUMNS} rows 40; export TERM=xterm-256color; {command}");
    let out = bed.run(&["script", "--quiet", "--return", "--command", &inner, "/dev/null"])?;
    ensure!(out.code < 126, "{command}: {}", out.tail());
    let size = |count| NonZero::new(count).context("a size");
    let mut parser = Parser::new(size(ROWS)?, size(COLUMNS)?, 0);
    let mut best: Option<(usize, Screen)> = None;
    for bytes in out.stdout.as_bytes().chunks(64) {
        parser.process(bytes);
        if moment == Moment::Busiest {
            let rows: Vec<String> = parser.screen().rows(0, COLUMNS).collect();
            let builds = rows.iter().filter(|row| row.starts_with("  ") && row.trim_end().ends_with('s')).count();
            let is_whole = rows.iter().any(|row| row.starts_with("Building ") && row.contains('>'));
            if is_whole && best.as_ref().is_none_or(|(most, _)| builds >= *most) {
                best = Some((builds, parser.screen().clone()));
            }
        }
    }
    match moment {
        Moment::End => Ok(parser.screen().clone()),
        Moment::Busiest => Ok(best.with_context(|| format!("{command} showed no progress:\n{}", out.stdout))?.1),
    }
}

/// The size of a cell and of the edge around all, in pixels.
const WIDTH: f32 = 8.4;
const HEIGHT: f32 = 18.0;
const EDGE: f32 = 14.0;

/// Writes the screen, below the command as a shell shows it.
fn draw(file: &Path, command: &str, screen: &Screen) -> Result<()> {
    let mut rows: Vec<String> = vec![run(0, 0, "# ", "#8b949e", false)? + &run(0, 2, command, "#ffffff", true)?];
    let used =
        (0..ROWS).filter(|row| (0..COLUMNS).any(|column| text(screen.cell(*row, column)) != " ")).max().unwrap_or(0);
    for row in 0..=used {
        let mut line = String::new();
        let mut column = 0;
        while column < COLUMNS {
            let style = style(screen.cell(row, column));
            let mut words = String::new();
            let begin = column;
            while column < COLUMNS && self::style(screen.cell(row, column)) == style {
                words.push_str(text(screen.cell(row, column)));
                column += 1;
            }
            if !words.trim().is_empty() {
                line += &run(row + 1, begin, words.trim_end(), style.0, style.1)?;
            }
        }
        rows.push(line);
    }
    let (width, height) = (f32::from(COLUMNS) * WIDTH + 2.0 * EDGE, f32::from(used + 2) * HEIGHT + 2.0 * EDGE);
    let mut svg = String::new();
    writeln!(
        svg,
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" height=\"{height:.0}\" \
         font-family=\"ui-monospace, 'DejaVu Sans Mono', Menlo, Consolas, monospace\" font-size=\"14\">"
    )?;
    writeln!(svg, "<title>{}</title>", escaped(command))?;
    writeln!(svg, "<rect width=\"100%\" height=\"100%\" rx=\"8\" fill=\"#161b22\"/>")?;
    rows.iter().filter(|row| !row.is_empty()).for_each(|row| svg += row);
    svg += "</svg>\n";
    fs_err::write(file, svg)?;
    Ok(())
}

/// Some cells of one colour. Their width is said, so that another font changes nothing.
fn run(row: u16, column: u16, words: &str, colour: &str, bold: bool) -> Result<String> {
    // Blanks at the beginning are no text.
    let blanks = words.chars().take_while(|c| *c == ' ').count();
    let words = words.trim_start();
    let x = EDGE + (f32::from(column) + f32::from(u16::try_from(blanks)?)) * WIDTH;
    let y = EDGE + f32::from(row) * HEIGHT + 14.0;
    let length = f32::from(u16::try_from(words.chars().count())?) * WIDTH;
    let weight = if bold { " font-weight=\"bold\"" } else { "" };
    Ok(format!(
        "<text x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\" lengthAdjust=\"spacingAndGlyphs\" fill=\"{colour}\"{weight} \
         xml:space=\"preserve\">{}</text>\n",
        escaped(words)
    ))
}

fn escaped(words: &str) -> String {
    words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn text(cell: Option<&Cell>) -> &str {
    cell.map(Cell::contents).filter(|text| !text.is_empty()).unwrap_or(" ")
}

/// The colour of a cell, and whether it is bold.
fn style(cell: Option<&Cell>) -> (&'static str, bool) {
    let Some(cell) = cell else { return (PLAIN, false) };
    let colour = match cell.fgcolor() {
        Color::Idx(1 | 9) => "#ff7b72",
        Color::Idx(2 | 10) => "#56d364",
        Color::Idx(3 | 11) => "#e3b341",
        Color::Idx(4 | 12) => "#79c0ff",
        Color::Idx(5 | 13) => "#d2a8ff",
        Color::Idx(6 | 14) => "#56d4dd",
        _ if cell.dim() => "#8b949e",
        _ => PLAIN,
    };
    (colour, cell.bold())
}

const PLAIN: &str = "#e6edf3";
