//! Reports as people and scripts ask for them: in which form, in which language.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The form of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReportForm {
    /// One page that loads nothing, to read and to print.
    #[default]
    Html,
    /// PDF/A-3b with its fonts inside.
    Pdf,
    /// The model, for programs.
    Json,
    /// Its rows, for a spreadsheet.
    Csv,
}

impl ReportForm {
    /// Every form.
    pub const ALL: [Self; 4] = [Self::Html, Self::Pdf, Self::Json, Self::Csv];

    /// Its word, which is also what a file's name ends in.
    #[must_use]
    pub fn word(self) -> &'static str {
        ["html", "pdf", "json", "csv"][self as usize]
    }

    /// Its media type.
    #[must_use]
    pub fn media_type(self) -> &'static str {
        ["text/html; charset=utf-8", "application/pdf", "application/json", "text/csv; charset=utf-8"]
            [self as usize]
    }
}

impl fmt::Display for ReportForm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

impl FromStr for ReportForm {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = Self::ALL.into_iter().find(|form| form.word() == text);
        known.ok_or_else(|| format!("`{text}` is no form of a report: write html, pdf, json or csv"))
    }
}

/// The language of a report's own sentences. What the log or a person wrote stays as it was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum ReportLanguage {
    /// English.
    #[default]
    En,
    /// German.
    De,
}

impl ReportLanguage {
    /// Its code (BCP 47).
    #[must_use]
    pub fn code(self) -> &'static str {
        ["en", "de"][self as usize]
    }
}

impl fmt::Display for ReportLanguage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl FromStr for ReportLanguage {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let known = [Self::En, Self::De].into_iter().find(|language| language.code() == text);
        known.ok_or_else(|| format!("there are no reports in `{text}`: write en or de"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_and_languages_are_read_by_their_words_and_others_are_told_which_there_are() {
        for form in ReportForm::ALL {
            assert_eq!(form.to_string().parse(), Ok(form));
            assert_eq!(serde_json::to_string(&form).unwrap(), format!("\"{form}\""));
        }
        assert_eq!("de".parse(), Ok(ReportLanguage::De));
        assert!("docx".parse::<ReportForm>().unwrap_err().contains("html, pdf, json or csv"));
        assert!("fr".parse::<ReportLanguage>().unwrap_err().contains("en or de"));
    }
}
