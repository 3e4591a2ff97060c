-- JSON: what an endpoint's TPM counted in its last accepted quote (resets, resumes, milliseconds). A TPM that counts less is a copy.
ALTER TABLE endpoint ADD COLUMN tpm_counted TEXT;
