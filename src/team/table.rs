//! Reading a TOML table key by key: each value with its line, what is wrong with it noted instead of ending the reading,
//! and at the end whatever nobody asked for, with the nearest right name.

use super::problem::{Place, Problem};
use crate::settings::nearest;
use std::ops::Range;
use std::sync::Arc;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// A file while it is read: its text, to count lines in, and what is wrong with it.
#[derive(Debug)]
pub(super) struct Notes<'a> {
    pub file: Arc<str>,
    text: &'a str,
    pub problems: Vec<Problem>,
}

/// A value, and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Placed<T> {
    pub value: T,
    pub line: usize,
}

/// A table while it is read.
pub(super) struct Table<'a> {
    entries: &'a DeTable<'a>,
    /// Whose it is, as problems say it.
    whose: String,
    /// Where it begins.
    pub line: usize,
    asked: Vec<&'static str>,
}

// === impl Notes ===

impl<'a> Notes<'a> {
    pub fn new(file: Arc<str>, text: &'a str) -> Self {
        Self { file, text, problems: Vec::new() }
    }

    pub fn wrong(&mut self, line: usize, fault: impl Into<String>) {
        self.problems.push(Problem { place: Place { file: self.file.clone(), line }, fault: fault.into() });
    }

    pub fn line(&self, span: Range<usize>) -> usize {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        before.bytes().filter(|byte| *byte == b'\n').count() + 1
    }

    /// The line on which the text of a string begins: a quote that ends its line is not part of it.
    pub fn first_line(&self, span: Range<usize>) -> usize {
        let raw = self.text.get(span.clone()).unwrap_or_default();
        let opened = raw.trim_start_matches(['"', '\'']);
        self.line(span) + usize::from(opened.starts_with(['\n', '\r']))
    }
}

// === impl Table ===

impl<'a> Table<'a> {
    pub fn new(entries: &'a DeTable<'a>, whose: impl Into<String>, line: usize) -> Self {
        Self { entries, whose: whose.into(), line, asked: Vec::new() }
    }

    /// From here on it is called so.
    pub fn call(&mut self, whose: String) {
        self.whose = whose;
    }

    pub fn wrong(&self, notes: &mut Notes<'_>, line: usize, fault: &str) {
        let fault = if self.whose.is_empty() { fault.to_owned() } else { format!("{}: {fault}", self.whose) };
        notes.wrong(line, fault);
    }

    fn find(&mut self, key: &'static str) -> Option<&'a Spanned<DeValue<'a>>> {
        self.asked.push(key);
        self.entries.get(key)
    }

    fn mistyped(&self, key: &str, found: &Spanned<DeValue<'_>>, wanted: &str, notes: &mut Notes<'_>) {
        let line = notes.line(found.span());
        self.wrong(notes, line, &format!("{key} is to be {wanted}, not {}", article(found.get_ref().type_str())));
    }

    /// A text, read by `read`.
    pub fn parsed<T>(
        &mut self,
        key: &'static str,
        notes: &mut Notes<'_>,
        read: impl FnOnce(&str) -> Result<T, String>,
    ) -> Option<Placed<T>> {
        let found = self.find(key)?;
        let Some(text) = found.get_ref().as_str() else {
            self.mistyped(key, found, "a text in quotes", notes);
            return None;
        };
        let line = notes.line(found.span());
        match read(text) {
            Ok(value) => Some(Placed { value, line }),
            Err(fault) => {
                self.wrong(notes, line, &format!("{key}: {fault}"));
                None
            }
        }
    }

    /// A text as it stands, and the line on which it begins.
    pub fn text(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Option<Placed<String>> {
        let span = self.entries.get(key).map(Spanned::span);
        let mut text = self.parsed(key, notes, |text| Ok(text.to_owned()))?;
        text.line = span.map_or(text.line, |span| notes.first_line(span));
        Some(text)
    }

    /// A whole number of at least `least`.
    pub fn number(&mut self, key: &'static str, least: u32, notes: &mut Notes<'_>) -> Option<Placed<u32>> {
        let found = self.find(key)?;
        let digits = found.get_ref().as_integer().map(|integer| u32::from_str_radix(integer.as_str(), integer.radix()));
        match digits {
            Some(Ok(number)) if number >= least => Some(Placed { value: number, line: notes.line(found.span()) }),
            Some(_) => {
                let line = notes.line(found.span());
                self.wrong(notes, line, &format!("{key} is to be a whole number from {least} to {}", u32::MAX));
                None
            }
            None => {
                self.mistyped(key, found, "a whole number", notes);
                None
            }
        }
    }

    /// True or false; false when it is not there.
    pub fn flag(&mut self, key: &'static str, notes: &mut Notes<'_>) -> bool {
        let Some(found) = self.find(key) else { return false };
        found.get_ref().as_bool().unwrap_or_else(|| {
            self.mistyped(key, found, "true or false", notes);
            false
        })
    }

    /// Texts in a list, each read by `read`.
    pub fn list<T>(
        &mut self,
        key: &'static str,
        notes: &mut Notes<'_>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let found = self.find(key)?;
        let Some(items) = found.get_ref().as_array() else {
            self.mistyped(key, found, "a list of texts, such as [\"analyze\"]", notes);
            return None;
        };
        let mut values = Vec::new();
        for item in items {
            let line = notes.line(item.span());
            match item.get_ref().as_str().map(&read) {
                Some(Ok(value)) => values.push(value),
                Some(Err(fault)) => self.wrong(notes, line, &format!("{key}: {fault}")),
                None => self.mistyped(key, item, "a list of texts", notes),
            }
        }
        Some(values)
    }

    /// The table of this name.
    pub fn table(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Option<Table<'a>> {
        let found = self.find(key)?;
        let Some(entries) = found.get_ref().as_table() else {
            self.mistyped(key, found, &format!("a table, [{key}]"), notes);
            return None;
        };
        Some(Table::new(entries, format!("[{key}]"), notes.line(found.span())))
    }

    /// The tables of this name, `[[key]]`.
    pub fn tables(&mut self, key: &'static str, notes: &mut Notes<'_>) -> Vec<Table<'a>> {
        let Some(found) = self.find(key) else { return Vec::new() };
        let items = found.get_ref().as_array().filter(|items| items.iter().all(|item| item.get_ref().is_table()));
        let Some(items) = items else {
            self.mistyped(key, found, &format!("tables, each under [[{key}]]"), notes);
            return Vec::new();
        };
        let table = |item: &'a Spanned<DeValue<'a>>| {
            let entries = item.get_ref().as_table()?;
            Some(Table::new(entries, format!("[[{key}]]"), notes.line(item.span())))
        };
        items.iter().filter_map(table).collect()
    }

    /// Notes every key that nobody asked for.
    pub fn end(self, notes: &mut Notes<'_>) {
        for (key, _) in self.entries {
            let name = key.get_ref();
            if self.asked.contains(&name.as_ref()) {
                continue;
            }
            let remedy = nearest(name, self.asked.iter().copied())
                .map_or_else(|| format!("use {}", self.asked.join(", ")), |near| format!("did you mean {near}?"));
            let line = notes.line(key.span());
            self.wrong(notes, line, &format!("there is no key {:?} here: {remedy}", name.as_ref()));
        }
    }
}

fn article(kind: &str) -> String {
    let article = if kind.starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {kind}")
}
