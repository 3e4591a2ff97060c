//! A code that a camera reads, drawn as SVG: black on white whatever the page's colours, since a reader wants that.

use maud::{Markup, html};
use qrcode::{Color, EcLevel, QrCode};

/// Light modules around the code (ISO/IEC 18004 section 9.1 wants four).
const QUIET: usize = 4;

/// A code of this text, with a quarter of it to spare for dirt (level Q); nothing where the text is too long for one. `label`: for who cannot see it.
#[must_use]
pub fn qr(text: &str, label: &str) -> Markup {
    let Ok(code) = QrCode::with_error_correction_level(text, EcLevel::Q) else { return Markup::default() };
    let side = code.width() + 2 * QUIET;
    html! {
        svg class="qr" viewBox={ "0 0 " (side) " " (side) } role="img" aria-label=(label) shape-rendering="crispEdges" {
            rect width=(side) height=(side) fill="#fff" {}
            path fill="#000" d=(dark(&code)) {}
        }
    }
}

/// Runs of dark modules, each as a rectangle of height one.
fn dark(code: &QrCode) -> String {
    let (width, colors) = (code.width(), code.to_colors());
    let mut path = String::new();
    for (y, row) in colors.chunks(width).enumerate() {
        let mut x = 0;
        for run in row.chunk_by(|left, right| left == right) {
            if run[0] == Color::Dark {
                path += &format!("M{} {}h{}v1h-{}z", x + QUIET, y + QUIET, run.len(), run.len());
            }
            x += run.len();
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_drawn_module_by_module_and_what_is_too_long_for_one_is_none() {
        let text = "https://appliance/m/press-01";
        let code = QrCode::with_error_correction_level(text, EcLevel::Q).unwrap();
        let drawn = qr(text, "a <code>").into_string();
        let side = code.width() + 8;
        assert!(
            drawn.contains(&format!("viewBox=\"0 0 {side} {side}\"")) && drawn.contains("a &lt;code&gt;"),
            "{drawn}"
        );
        let area: usize =
            drawn.split('h').skip(1).filter_map(|run| run.split('v').next()?.parse::<usize>().ok()).sum();
        assert_eq!(area, code.to_colors().iter().filter(|color| **color == Color::Dark).count());
        assert_eq!(qr(&"x".repeat(4000), "").into_string(), "");
    }
}
