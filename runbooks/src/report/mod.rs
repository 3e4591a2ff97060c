//! The report of a drill (its page and its data follow).
