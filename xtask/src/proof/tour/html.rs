//! All pages of the book as one page of HTML that needs nothing else: pictures are in it, and so is
//! its style. What it knows of Markdown is what the book uses: headings, paragraphs, lists, tables,
//! quotes, blocks of text, code, strong text, links.

use std::fmt::Write;

use super::book::Page;
use super::picture::escaped;
use crate::arch::Arch;

const STYLE: &str = "\
  :root { color-scheme: light dark; --line: #d1d9e0; --soft: #f6f8fa; --text: #1f2328; --page: #ffffff; --link: #0969da; }
  @media (prefers-color-scheme: dark) { :root { --line: #3d444d; --soft: #151b23; --text: #f0f6fc; --page: #0d1117; --link: #4493f8; } }
  body { font: 16px/1.55 system-ui, sans-serif; color: var(--text); background: var(--page); max-width: 62rem; margin: 2rem auto; padding: 0 1.2rem; }
  h2 { margin-top: 3.5rem; border-top: 1px solid var(--line); padding-top: 1.5rem; }
  a { color: var(--link); }
  code, pre { font: 13px/1.45 ui-monospace, monospace; background: var(--soft); border-radius: 4px; }
  code { padding: 0.1em 0.3em; }
  pre { padding: 0.8rem; overflow-x: auto; }
  blockquote { margin: 1rem 0; padding: 0.5rem 1rem; border-left: 4px solid var(--link); background: var(--soft); }
  table { border-collapse: collapse; } th, td { border: 1px solid var(--line); padding: 0.35rem 0.6rem; text-align: left; vertical-align: top; }
  figure { margin: 1rem 0; overflow-x: auto; } summary { cursor: pointer; }
";

/// The page.
pub(super) fn page(arch: Arch, pages: &[Page]) -> String {
    let mut text = format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width\">\n\
         <title>Questions about stacks, answered by a running kernel</title>\n\
         <style>\n{STYLE}</style>\n</head>\n<body>\n\
         <h1>Questions about stacks, answered by a running kernel</h1>\n\
         <p>Each answer below is an experiment. The reference kernel was booted once, on an emulated \
         {arch} machine with four CPUs, by <code>cargo xtask tour --arch {arch}</code>; it carried \
         out the experiments and printed what it saw. Addresses, figures and pictures are of that \
         run. To try one yourself, start <code>cargo xtask run --arch {arch}</code> and type \
         <code>ask NAME</code>.</p>\n<ol>\n"
    );
    for page in pages {
        let _ = writeln!(
            text,
            "<li><a href=\"#{}\">{}</a> <code>ask {}</code></li>",
            page.name,
            escaped(&page.asks),
            page.name
        );
    }
    text.push_str("</ol>\n");
    for page in pages {
        let _ = writeln!(text, "<h2 id=\"{}\">{}</h2>", page.name, escaped(&page.asks));
        text.push_str(&markdown(&page.before));
        let _ = writeln!(text, "<blockquote>{}</blockquote>", escaped(&page.sentence));
        if let Some(picture) = &page.picture {
            let _ = writeln!(text, "<figure>{picture}</figure>");
        }
        let _ = writeln!(
            text,
            "<details><summary>What <code>ask {}</code> printed</summary>\n<pre>{}</pre></details>",
            page.name,
            escaped(&page.printed)
        );
        text.push_str(&markdown(&page.behind));
    }
    text.push_str("</body>\n</html>\n");
    text
}

/// What a block is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Block {
    None,
    Paragraph,
    List,
    Table,
}

/// Markdown as HTML. A heading is a level lower than in its document.
fn markdown(text: &str) -> String {
    let mut html = String::new();
    let mut block = Block::None;
    let mut is_code = false;
    for line in text.lines() {
        if line.starts_with("```") {
            close(&mut block, &mut html);
            html.push_str(if is_code { "</pre>\n" } else { "<pre>" });
            is_code = !is_code;
            continue;
        }
        if is_code {
            let _ = writeln!(html, "{}", escaped(line));
            continue;
        }
        let trimmed = line.trim();
        if trimmed.is_empty() {
            close(&mut block, &mut html);
        } else if let Some(title) = trimmed.strip_prefix("## ") {
            close(&mut block, &mut html);
            let _ = writeln!(html, "<h3>{}</h3>", inline(title));
        } else if let Some(item) = trimmed.strip_prefix("- ") {
            open(Block::List, &mut block, &mut html);
            let _ = writeln!(html, "<li>{}", inline(item));
        } else if let Some(row) = trimmed.strip_prefix('|') {
            let is_first = block != Block::Table;
            open(Block::Table, &mut block, &mut html);
            let cells: Vec<&str> = row.trim_end_matches('|').split('|').map(str::trim).collect();
            if cells.iter().all(|cell| cell.chars().all(|c| "-: ".contains(c))) {
                continue;
            }
            let tag = if is_first { "th" } else { "td" };
            html.push_str("<tr>");
            for cell in cells {
                let _ = write!(html, "<{tag}>{}</{tag}>", inline(cell));
            }
            html.push_str("</tr>\n");
        } else {
            if block == Block::None {
                open(Block::Paragraph, &mut block, &mut html);
            }
            let _ = writeln!(html, "{}", inline(trimmed));
        }
    }
    close(&mut block, &mut html);
    html
}

fn open(wanted: Block, block: &mut Block, html: &mut String) {
    if *block == wanted {
        return;
    }
    close(block, html);
    html.push_str(match wanted {
        Block::None => "",
        Block::Paragraph => "<p>",
        Block::List => "<ul>\n",
        Block::Table => "<table>\n",
    });
    *block = wanted;
}

fn close(block: &mut Block, html: &mut String) {
    html.push_str(match block {
        Block::None => "",
        Block::Paragraph => "</p>\n",
        Block::List => "</ul>\n",
        Block::Table => "</table>\n",
    });
    *block = Block::None;
}

/// Code, strong text and links within a line. Pages of the book become places of this page; other
/// files keep their name alone.
fn inline(text: &str) -> String {
    let mut html = String::new();
    for (index, part) in text.split('`').enumerate() {
        if index % 2 == 1 {
            let _ = write!(html, "<code>{}</code>", escaped(part));
            continue;
        }
        for (index, part) in part.split("**").enumerate() {
            html.push_str(["", "<strong>"][index % 2]);
            html.push_str(&links(&escaped(part)));
            html.push_str(["", "</strong>"][index % 2]);
        }
    }
    html
}

fn links(text: &str) -> String {
    let mut html = String::new();
    let mut rest = text;
    while let Some((before, behind)) = rest.split_once('[') {
        let link = behind.split_once("](").and_then(|(name, behind)| {
            let (target, behind) = behind.split_once(')')?;
            Some((name, target, behind))
        });
        let Some((name, target, behind)) = link else { break };
        html.push_str(before);
        match target.strip_suffix(".md") {
            Some(page) if !page.contains('/') => {
                let _ = write!(html, "<a href=\"#{page}\">{name}</a>");
            }
            _ => html.push_str(name),
        }
        rest = behind;
    }
    html + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_book_uses_of_markdown_becomes_html() {
        let html = markdown(
            "A **b** `c<d`\nmore, see [it](dma.md) and [that](../figures.md).\n\n## Title\n\n- one\n  more\n- two\n\n\
             | a | b |\n| --- | --- |\n| 1 | `2` |\n\n```text\n<x>\n```\n",
        );
        for part in [
            "<p>A <strong>b</strong> <code>c&lt;d</code>\nmore, see <a href=\"#dma\">it</a> and that.\n</p>",
            "<h3>Title</h3>",
            "<ul>\n<li>one\nmore\n<li>two\n</ul>",
            "<tr><th>a</th><th>b</th></tr>\n<tr><td>1</td><td><code>2</code></td></tr>\n</table>",
            "<pre>&lt;x&gt;\n</pre>",
        ] {
            assert!(html.contains(part), "{part} is not in {html}");
        }
    }

    #[test]
    fn the_page_needs_nothing_else() {
        let page = Page {
            name: "cost".into(),
            asks: "What <does> it cost?".into(),
            before: String::new(),
            behind: "## Why\n\nBecause.".into(),
            sentence: "a & b".into(),
            printed: "x < y".into(),
            picture: Some("<svg></svg>".into()),
        };
        let html = super::page(Arch::USUAL, &[page]);
        assert!(html.contains("<a href=\"#cost\">") && html.contains("<h2 id=\"cost\">"), "{html}");
        assert!(html.contains("a &amp; b") && html.contains("x &lt; y"), "{html}");
        assert!(!html.contains("src=") && !html.contains("http"), "self-contained");
    }
}
