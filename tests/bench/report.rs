//! The bench report: all figures in a table, and a picture of each that was taken at several sizes. One HTML file that needs nothing else.

use std::fmt::Write as _;

use anyhow::{Result, anyhow};
use plotters::prelude::*;

use super::Figure;

const SIZE: (u32, u32) = (640, 360);
const OURS: RGBColor = RGBColor(0, 84, 166);
const PEER: RGBColor = RGBColor(190, 80, 0);

/// The report.
///
/// # Errors
/// When a picture cannot be drawn.
pub fn html(figures: &[Figure]) -> Result<String> {
    let mut text = String::from(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>Groundstate: measured</title>\n\
         <style>body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem}\
         table{border-collapse:collapse}td,th{padding:.2rem .8rem;text-align:right;border-bottom:1px solid #bbb}\
         td:first-child,th:first-child,td:last-child,th:last-child{text-align:left}.short{font-weight:bold}\
         figure{display:inline-block;margin:1rem 0}</style>\n<h1>Measured</h1>\n\
         <p>Each figure and its peer were taken in the same run; less is better. A ratio over its bound is short.</p>\n\
         <table><tr><th>figure<th>ours<th>peer<th>ratio<th>bound<th>verdict<th>against</tr>\n",
    );
    for f in figures {
        let _ = writeln!(
            text,
            "<tr class=\"{5}\"><td>{0}<td>{1:.3}<td>{2:.3}<td>{3:.2}<td>{4:.2}<td>{5}<td>{6}</tr>",
            escaped(&f.label()),
            f.ours,
            f.peer,
            f.ratio,
            f.bound,
            f.verdict,
            escaped(&f.against)
        );
    }
    text.push_str("</table>\n");
    for (name, points) in growing(figures) {
        let picture = picture(name, &points)?;
        let _ = writeln!(text, "<figure>{picture}</figure>");
    }
    text.push_str("</html>\n");
    Ok(text)
}

/// Figures that were taken at two sizes or more, by their name, in order of size.
fn growing(figures: &[Figure]) -> Vec<(&str, Vec<&Figure>)> {
    let mut groups: Vec<(&str, Vec<&Figure>)> = Vec::new();
    for figure in figures.iter().filter(|figure| figure.gib.is_some()) {
        match groups.iter_mut().find(|(name, _)| *name == figure.name) {
            Some((_, group)) => group.push(figure),
            None => groups.push((&figure.name, vec![figure])),
        }
    }
    groups.retain(|(_, group)| group.len() > 1);
    groups.iter_mut().for_each(|(_, group)| {
        group.sort_by(|a, b| a.gib.partial_cmp(&b.gib).unwrap_or(std::cmp::Ordering::Equal))
    });
    groups
}

/// An SVG: ours and the peer over the size, both axes from zero.
fn picture(name: &str, points: &[&Figure]) -> Result<String> {
    let failed = |error: DrawingAreaErrorKind<_>| anyhow!("the picture of `{name}` was not drawn: {error}");
    let size = |f: &Figure| f.gib.unwrap_or(0.0);
    let right = points.iter().copied().map(size).fold(0.0, f64::max);
    let top = points.iter().flat_map(|f| [f.ours, f.peer]).fold(0.0, f64::max) * 1.05;
    let mut svg = String::new();
    {
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        area.fill(&WHITE).map_err(failed)?;
        let mut chart = ChartBuilder::on(&area)
            .caption(name, ("sans-serif", 18))
            .margin(12)
            .x_label_area_size(40)
            .y_label_area_size(64)
            .build_cartesian_2d(0.0..right, 0.0..top.max(f64::MIN_POSITIVE))
            .map_err(failed)?;
        chart.configure_mesh().light_line_style(WHITE).x_desc("disk, GiB").draw().map_err(failed)?;
        let against = points.first().map_or("peer", |f| &f.against);
        for (label, colour, is_ours) in [("ours", OURS, true), (against, PEER, false)] {
            let line = points.iter().map(|f| (size(f), if is_ours { f.ours } else { f.peer }));
            chart
                .draw_series(LineSeries::new(line.clone(), colour.stroke_width(2)).point_size(3))
                .map_err(failed)?
                .label(label)
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
        }
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperLeft)
            .background_style(WHITE)
            .label_font(("sans-serif", 14))
            .draw()
            .map_err(failed)?;
        area.present().map_err(failed)?;
    }
    Ok(svg)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_of_one_name_and_several_sizes_make_a_picture() {
        let at = |name: &str, gib, ours| Figure::at_most(name, ours, 9.0, "<p>", 1.0).at_gib(gib);
        let figures = [
            at("import cpu s", 64.0, 3.0),
            Figure::at_most("scrub", 1.0, 2.0, "dd", 1.0),
            at("import cpu s", 4.0, 2.0),
            at("once", 4.0, 2.0),
        ];
        let sizes: Vec<_> = growing(&figures)[0].1.iter().map(|f| f.gib).collect();
        assert_eq!(sizes, [Some(4.0), Some(64.0)]);
        let text = html(&figures).unwrap();
        assert_eq!(text.matches("<svg").count(), 1);
        let lines = |colour: &str| text.matches(&format!("stroke=\"{colour}\"")).count();
        assert!(lines("#0054A6") >= 2 && lines("#BE5000") >= 2, "a line and its legend each: {text}");
        assert!(
            text.contains("import cpu s, 64 GiB") && text.contains("&lt;p&gt;") && !text.contains("<p>\"")
        );
    }
}
