//! Every input of the fuzz targets' corpora, what they once found included, through the same functions (see `fuzz/README.md`).

use std::panic::catch_unwind;
use std::path::Path;

#[path = "../../fuzz/entries.rs"]
mod entries;

#[test]
fn every_input_of_the_corpora_is_survived() {
    let corpora = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus");
    let mut folders: Vec<_> =
        std::fs::read_dir(&corpora).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    folders.sort_unstable();
    let mut names = entries::ENTRIES.map(|(name, _)| name);
    names.sort_unstable();
    assert_eq!(folders, names, "a folder for each target");
    let mut failed = Vec::new();
    for (name, entry) in entries::ENTRIES {
        let mut inputs = 0;
        for file in std::fs::read_dir(corpora.join(name)).unwrap() {
            let file = file.unwrap().path();
            let bytes = std::fs::read(&file).unwrap();
            inputs += 1;
            if catch_unwind(|| entry(&bytes)).is_err() {
                failed.push(file);
            }
        }
        assert!(inputs >= 3, "{name} has {inputs} inputs");
    }
    assert!(failed.is_empty(), "these make their targets panic: {failed:#?}");
}
