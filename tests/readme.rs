//! The two READMEs say the same: equal code blocks in equal order, tables of equal shape, and the same links. That the
//! Rust in them compiles and runs is watched by the documentation tests in `src/lib.rs`.

const ENGLISH: &str = include_str!("../README.md");
const CHINESE: &str = include_str!("../README.cn.md");

/// What stands between code fences, the language included.
fn code_blocks(text: &str) -> Vec<&str> {
    text.split("```").skip(1).step_by(2).collect()
}

/// Cells of every table row, by row.
fn table_shape(text: &str) -> Vec<usize> {
    text.lines().filter(|line| line.starts_with('|')).map(|line| line.matches('|').count()).collect()
}

/// Targets of links, but for the other language and places within the page.
fn links(text: &str) -> Vec<&str> {
    let targets = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let mut links: Vec<_> =
        targets.filter(|target| !target.starts_with('#') && !target.starts_with("README")).collect();
    links.sort_unstable();
    links
}

#[test]
fn both_readmes_show_the_same_code() {
    let english = code_blocks(ENGLISH);
    assert!(english.iter().filter(|block| block.starts_with("rust\n")).count() >= 2);
    assert_eq!(english, code_blocks(CHINESE));
}

#[test]
fn both_readmes_have_the_same_tables_and_links() {
    assert!(table_shape(ENGLISH).len() > 20);
    assert_eq!(table_shape(ENGLISH), table_shape(CHINESE));
    assert_eq!(links(ENGLISH), links(CHINESE));
}
