-- Jobs of a site are read page by page, newest first.
CREATE INDEX job_by_asked ON job (asked, id);
