-- What people are in the words of runbooks (drill-lead, shift-supervisor). Times in milliseconds since 1970.
CREATE TABLE person_duty (
    person           TEXT NOT NULL,
    duty             TEXT NOT NULL,
    given            BIGINT NOT NULL,
    given_by         TEXT NOT NULL,            -- as in evidence
    PRIMARY KEY (person, duty)
);
