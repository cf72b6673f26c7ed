//! The page about configuration says what the program says.

use server::Settings;
use service_runtime::configuration::reference;

#[test]
fn the_page_has_the_settings_that_there_are() {
    let page = include_str!("../../../docs/configuration.md");
    assert!(
        page.contains(&reference::<Settings>()),
        "docs/configuration.md is not current; run `cargo xtask codegen`"
    );
}
