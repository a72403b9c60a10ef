use super::*;

fn device(adapter: &str) -> DeviceKey {
    DeviceKey {
        adapter: adapter.into(),
        driver: "drive".into(),
        driver_info: "Drive 1.2 (beta)".into(),
        backend: "vulkan".into(),
    }
}

fn insert(tuning: &mut Tuning, adapter: &str, problem: &str, variant: &str, ms: f64) {
    let kernel = Kernel::ALL.iter().find(|kernel| kernel.variants().contains(&variant)).unwrap();
    let key = Key { device: device(adapter), checks: "trusted", problem: problem.into() };
    tuning.entries.insert(key, Learned { choice: kernel.variant(variant).unwrap(), ms });
}

/// Two entries of one adapter, one of another.
fn sample() -> Tuning {
    let mut tuning = Tuning::new();
    insert(&mut tuning, "Card A", "n1c3h8w8o4k3p1", "c4x8", 0.125);
    insert(&mut tuning, "Card A", "n1c16h8w8o64k1+relu", Kernel::Tiled.variants()[0], 3.5);
    insert(&mut tuning, "Käse ≥ 9", "n1c3h8w8o4k3p1", "generic-c4x4", 12.0);
    tuning
}

/// The text of one entry, to be damaged; fields changed by name, the checksum made to fit if `sealed`.
fn entry(changes: &[(&str, &str)], sealed: bool) -> String {
    let mut values: Vec<(&str, String)> = FIELDS
        .iter()
        .zip([
            VERSION,
            "Card A",
            "drive",
            "Drive 1.2 (beta)",
            "vulkan",
            "trusted",
            "n1c3h8w8o4k3p1",
            "direct",
            "c4x8",
            "0.125",
            "0",
        ])
        .map(|(&name, value)| (name, value.to_owned()))
        .collect();
    let sum = |values: &[(&str, String)]| {
        let all: Vec<String> = values[..SUM].iter().map(|(_, value)| value.clone()).collect();
        format!("{:016x}", checksum(&all.try_into().unwrap()))
    };
    if !sealed {
        values[SUM].1 = sum(&values);
    }
    for (name, value) in changes {
        values.iter_mut().find(|(known, _)| known == name).unwrap().1 = (*value).into();
    }
    if sealed {
        values[SUM].1 = sum(&values);
    }
    let lines: String = values.iter().map(|(name, value)| format!("{name} = {value}\n")).collect();
    format!("{HEADER}\n{ENTRY}\n{lines}")
}

#[test]
fn what_is_written_is_read_back() {
    let tuning = sample();
    let text = tuning.to_string();
    assert_eq!(Tuning::parse(&text), ParsedTuning { tuning: tuning.clone(), warnings: vec![] });
    assert_eq!(Tuning::parse(Tuning::new().to_string()).tuning, Tuning::new());
    // Line ends and spaces that an editor or git changes are no damage.
    for harmless in [text.replace('\n', "\r\n"), text.replace(" = ", "=\t"), text.replace('\n', "\n\n# note\n")] {
        assert_eq!(Tuning::parse(&harmless), ParsedTuning { tuning: tuning.clone(), warnings: vec![] });
    }
    assert_eq!((tuning.len(), tuning.is_empty(), Tuning::new().is_empty()), (3, false, true));
    assert_eq!(tuning.for_device(&device("Card A")).count(), 2);
    assert_eq!(tuning.for_device(&device("Card")).count(), 0);
}

#[test]
fn the_newer_entry_counts_when_merging() {
    let mut other = Tuning::new();
    insert(&mut other, "Card A", "n1c3h8w8o4k3p1", "c1x8", 0.0625);
    insert(&mut other, "Card B", "n1c3h8w8o4k3p1", "c4x8", 1.0);
    let mut merged = sample();
    merged.merge(&other);
    assert_eq!(merged.len(), 4);
    let (_, _, learned) =
        merged.for_device(&device("Card A")).find(|(problem, ..)| *problem == "n1c3h8w8o4k3p1").unwrap();
    assert_eq!((learned.choice.name(), learned.ms), ("c1x8", 0.0625));
}

/// What a driver may say of itself stays one line of a file.
#[test]
fn names_are_tamed() {
    assert_eq!(clean("  a\nb\tc\u{0}\r\n"), "a b c");
    assert_eq!(clean(&"ü".repeat(5000)), "ü".repeat(MAX_NAME));
    let mut tuning = Tuning::new();
    for name in ["", "[entry]", "= = =", "# no", "variant = c1x8", "a  b", &"😀".repeat(MAX_NAME), HEADER] {
        insert(&mut tuning, &clean(name), "n1c3h8w8o4k3p1", "c4x8", f64::MIN_POSITIVE);
    }
    assert_eq!(tuning.len(), 8);
    assert_eq!(Tuning::parse(tuning.to_string()), ParsedTuning { tuning, warnings: vec![] });
}

#[test]
fn damaged_and_foreign_files_are_ignored_with_a_warning() {
    let text = sample().to_string();
    let one = entry(&[], true);
    assert_eq!(Tuning::parse(&one).tuning.len(), 1, "undamaged: {:?}", Tuning::parse(&one).warnings);
    let long_line = entry(&[("adapter", &"x".repeat(2000))], true);
    let long_name = entry(&[("adapter", &"x".repeat(MAX_NAME + 1))], true);
    let digits = "1".repeat(MAX_LINE);
    let without = |name: &str| {
        one.lines().filter(|line| !line.starts_with(name)).map(|line| format!("{line}\n")).collect::<String>()
    };
    let fields = one.lines().skip(2).collect::<Vec<_>>().join("\n");
    // What is read, what a warning must say. No entry may come out.
    let cases: Vec<(Vec<u8>, &str)> = [
        // The file as a whole.
        ("".into(), "first line is \"\""),
        ("\n".into(), "first line"),
        (format!("\n{one}"), "first line"),
        (format!("\u{feff}{one}"), "first line"),
        (one.replace("tuning 1", "tuning 2"), "tuning 2"),
        (one.replace("tuning 1", "tuning"), "first line"),
        (one.replace("wgpu-conv", "other"), "other tuning 1"),
        (one.to_uppercase(), "first line"),
        ("{\"tuning\": 1}".into(), "first line"),
        ("<?xml version=\"1.0\"?>".into(), "first line"),
        (one.replace('\n', "\r"), "first line"),
        (one.replace('\n', " "), "first line"),
        (fields.clone(), "first line"),
        (format!("{HEADER}\n{fields}"), "belongs to no [entry]"),
        (format!("{HEADER}\nnonsense"), "belongs to no [entry]"),
        (format!("{HEADER}\n[device]\n"), "belongs to no [entry]"),
        (format!("{HEADER}\n[entry"), "belongs to no [entry]"),
        (format!("{HEADER}\n{ENTRY}"), "version is missing"),
        ("x".repeat(Tuning::MAX_BYTES + 1), "4194305 bytes"),
        (format!("{HEADER}\n{}", "\n".repeat(Tuning::MAX_BYTES)), "bytes; at most"),
        // Fields.
        (without("version"), "version is missing"),
        (without("adapter"), "adapter is missing"),
        (without("driver ="), "driver is missing"),
        (without("driver_info"), "driver_info is missing"),
        (without("backend"), "backend is missing"),
        (without("checks"), "checks is missing"),
        (without("problem"), "problem is missing"),
        (without("kernel"), "kernel is missing"),
        (without("variant"), "variant is missing"),
        (without("ms"), "ms is missing"),
        (without("sum"), "sum is missing"),
        (format!("{one}ms = 0.125\n"), "ms is there twice"),
        (format!("{one}variant = c1x8\n"), "variant is there twice"),
        (format!("{one}speed = high\n"), "\"speed\" is unknown"),
        (format!("{one}speed\n"), "no `name = value`"),
        (format!("{one}[/entry]\n"), "no `name = value`"),
        (format!("{one}\u{0}\n"), "no `name = value`"),
        (format!("{one}{HEADER}\n"), "no `name = value`"),
        (format!("{one}{}", &one[HEADER.len()..]), "occurs more than once"),
        (long_line, "bytes; a line may have"),
        (long_name, "longer than 160 characters"),
        (entry(&[("adapter", "a\u{7}b")], true), "control characters"),
        // Values that are well sealed and still make no sense here.
        (entry(&[("version", "0.0.9")], true), "version \"0.0.9\""),
        (entry(&[("version", "999.0.0")], true), "version \"999.0.0\""),
        (entry(&[("version", "")], true), "version \"\""),
        (entry(&[("checks", "maybe")], true), "no mode \"maybe\""),
        (entry(&[("checks", "")], true), "no mode"),
        (entry(&[("kernel", "winograd9")], true), "winograd9"),
        (entry(&[("kernel", "")], true), "no kernel named"),
        (entry(&[("kernel", "tiled")], true), "c4x8"),
        (entry(&[("variant", "c4x9000")], true), "c4x9000"),
        (entry(&[("variant", "../../etc")], true), "../../etc"),
        (entry(&[("problem", "")], true), "cannot read"),
        (entry(&[("problem", "A")], true), "cannot read"),
        (entry(&[("problem", "c3h8w8o4k3p1")], true), "instead of \"n1c3h8w8o4k3p1\""),
        (entry(&[("problem", "n1c3h8w8o4k0")], true), "kernel_size"),
        (entry(&[("problem", "n99999999999c3h8w8o4k3")], true), "cannot read"),
        (entry(&[("problem", "n4294967295c4294967295h4294967295w4294967295o1k1")], true), "exceeds 64 bits"),
        (entry(&[("ms", "fast")], true), "\"fast\" is no time"),
        (entry(&[("ms", "")], true), "no time"),
        (entry(&[("ms", "0")], true), "no time"),
        (entry(&[("ms", "-1")], true), "no time"),
        (entry(&[("ms", "inf")], true), "no time"),
        (entry(&[("ms", "NaN")], true), "no time"),
        (entry(&[("ms", "1e999")], true), "no time"),
        (entry(&[("ms", &digits)], true), "bytes; a line may have"),
        // Values that were changed.
        (entry(&[("ms", "0.126")], false), "checksum"),
        (entry(&[("variant", "c1x8")], false), "checksum"),
        (entry(&[("problem", "n1c3h8w8o4k3p2")], false), "checksum"),
        (entry(&[("adapter", "Card B")], false), "checksum"),
        (entry(&[("checks", "checked")], false), "checksum"),
        (entry(&[("sum", "0")], false), "checksum"),
        (entry(&[("sum", "")], false), "checksum"),
        (entry(&[("sum", "zzzzzzzzzzzzzzzz")], false), "checksum"),
    ]
    .into_iter()
    .map(|(text, says)| (text.into_bytes(), says))
    .chain([
        (vec![0; 100], "first line"),
        (vec![0xff; 100], "not text"),
        ([text.as_bytes(), &[0x80]].concat(), "not text"),
        ("wgpu".encode_utf16().flat_map(u16::to_le_bytes).collect(), "first line"),
        (vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 0xff], "not text"),
    ])
    .collect();
    assert!(cases.len() >= 40, "{}", cases.len());
    for (bytes, says) in cases {
        let ParsedTuning { tuning, warnings } = Tuning::parse(&bytes);
        let text = String::from_utf8_lossy(&bytes[..bytes.len().min(600)]).into_owned();
        assert!(tuning.is_empty(), "{text}");
        assert!(warnings.iter().any(|warning| warning.contains(says)), "{says:?} is not in {warnings:?} for:\n{text}");
    }
}

#[test]
fn damage_to_one_entry_leaves_the_others() {
    let text = sample().to_string();
    let damaged = text.replacen("c4x8", "c1x8", 1);
    let ParsedTuning { tuning, warnings } = Tuning::parse(&damaged);
    assert_eq!((tuning.len(), warnings.len()), (2, 1), "{warnings:?}");
    assert!(warnings[0].contains("line 17 is ignored"), "{warnings:?}");
    // Three times the same key: none of them counts, and the others do.
    let entry = &text[text.find(ENTRY).unwrap()..][..text[text.find(ENTRY).unwrap()..].find("\n\n").unwrap() + 1];
    let ParsedTuning { tuning, warnings } = Tuning::parse(format!("{text}{entry}{entry}"));
    assert_eq!((tuning.len(), warnings.len()), (2, 2), "{warnings:?}");
}

/// However a file is cut off or one bit of it flipped: what is read is a part of what was written.
#[test]
fn no_cut_and_no_flipped_bit_is_trusted() {
    let tuning = sample();
    let text = tuning.to_string().into_bytes();
    let is_part =
        |parsed: &Tuning| parsed.entries.iter().all(|(key, learned)| tuning.entries.get(key) == Some(learned));
    for end in 0..text.len() {
        let ParsedTuning { tuning: parsed, .. } = Tuning::parse(&text[..end]);
        assert!(is_part(&parsed), "cut at {end}");
        // Without its last character, an end of line, the file is whole.
        assert!(end == text.len() - 1 || parsed.len() < tuning.len(), "cut at {end}");
    }
    for bit in 0..8 * text.len() {
        let mut damaged = text.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let ParsedTuning { tuning: parsed, warnings } = Tuning::parse(&damaged);
        assert!(is_part(&parsed), "bit {bit}");
        assert!(
            parsed.len() == tuning.len() || !warnings.is_empty(),
            "bit {bit}: {} left without a word",
            parsed.len()
        );
    }
}

#[test]
fn warnings_are_not_without_end() {
    let ParsedTuning { warnings, .. } = Tuning::parse(format!("{HEADER}\n{}", "x\n".repeat(100_000)));
    assert_eq!(warnings.len(), MAX_WARNINGS + 1);
    assert_eq!(warnings.last().unwrap(), &format!("and {} more", 100_000 - MAX_WARNINGS));
    assert!(warnings.iter().all(|warning| warning.len() < 4000));
}
