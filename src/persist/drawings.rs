//! The drawings of the formats in docs/storage.md are those of the modules.

const DOCS: &str = include_str!("../../docs/storage.md");

#[test]
fn the_documentation_has_the_drawings_of_the_code() {
    let modules = [
        include_str!("journal/block.rs"),
        include_str!("journal/item.rs"),
        include_str!("segment.rs"),
        include_str!("index.rs"),
        include_str!("manifest.rs"),
        include_str!("state.rs"),
    ];
    for module in modules {
        let drawn = module.lines().skip_while(|line| *line != "//! ```text").skip(1);
        let lines = drawn.take_while(|line| *line != "//! ```").map(|line| line[3..].strip_prefix(' ').unwrap_or(""));
        let drawing = lines.collect::<Vec<_>>().join("\n");
        assert!(
            !drawing.is_empty() && DOCS.contains(&drawing),
            "docs/storage.md lacks this, or has it otherwise:\n{drawing}"
        );
    }
}
