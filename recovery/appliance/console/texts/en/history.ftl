# What happened: jobs and the evidence log.

## Who and what did something
actor-token = the site's own key
actor-source = the source { $source }
actor-agent = the recovery system
actor-appliance = the appliance
trigger-person = a person
trigger-attestation = an attestation
trigger-source = the source { $source }
trigger-drill = a drill

## Jobs
tab-jobs = Jobs
jobs-none = No job is like this.
jobs-open = Open
jobs-any = All
jobs-state = State
jobs-states = Jobs by state
jobs-endpoint = Endpoint
jobs-trigger = Asked for by
jobs-sort-newest = newest first
jobs-sort-oldest = oldest first
jobs-sort-longest = longest first
jobs-capture = capture
button-retry = Try again

## What happened in a job
steps-title =
    { $n ->
        [one] What happened ({ $n } step)
       *[other] What happened ({ $n } steps)
    }
steps-when = When
steps-what = What
steps-took = After
steps-who = Who
steps-entry = Entry
steps-help = “After” is how long the state before it had lasted; the entry is the one of the evidence log that says it.
code-tick-event = its time was over
code-restarted-event = the appliance started again
code-admission-event = the guard rails answered
code-done-event = the appliance's act ended
code-agent-hello-event = the recovery system said hello
code-pairing-shown-event = it shows a pairing code
code-hardware-proven-event = its hardware is proven
code-order-asked-event = the recovery system asked for its order
code-reported-event = the recovery system reported
code-captured-event = the disk is in the store
code-golden-hello-event = the restored system said hello
code-golden-proven-event = the restored system is proven
code-certified-event = a certificate was issued
code-enrolment-later-event = whoever issues certificates says later
code-enrolled-event = it holds its certificate
code-refused-event = it was refused
code-differs-event = another TPM or firmware than on record
code-approve-event = a person approved it
code-resume-event = a person let it go on
code-site-stop-event = STOP was pressed
code-break-glass-event = a person let it go on without approval
code-cancel-event = a person stopped it

## The evidence log
tab-evidence = Evidence
evidence-what =
    { $n ->
        [one] The log has { $n } entry; nobody can change or remove it unseen.
       *[other] The log has { $n } entries; nobody can change or remove one unseen.
    }
evidence-none = No entry is like this.
evidence-looked = Looked back to entry { $entry }; the next page goes on from there.
evidence-kind = Kind
evidence-by = By (person)
evidence-from = From (UTC)
evidence-to = To (UTC)
evidence-job = Job
evidence-hash = Hash (leaf of the log's tree)
evidence-proof = Proof that it is in the log
evidence-text = The entry as a file
evidence-entry = Entry { $entry }
verify-title = The evidence log, checked
verify-button = Verify
verify-good = as it was written
verify-bad = not as it was written
verify-all = { $entries } entries are as they were written, and { $checkpoints } signed checkpoints agree.
verify-held = Anchors held against it: { $n }.
verify-first = The first bad entry is { $entry }.
verify-now = Keep the database as it is, take an export and the newest backup, and compare them; treat what follows as unproven.
verify-took = It took { $took }.
verify-elsewhere = Who could change the log may have changed the appliance: from another computer check it with

## Refusals
code-bad-state-what = No job is ever in this state.
code-bad-state-now = Choose a state from the list.
code-bad-time-what = The time cannot be understood.
code-bad-time-now = Write it as 2026-11-30 or 2026-11-30T13:05, in UTC.
code-nothing-to-retry-what = The job ended well: there is nothing to try again.
code-nothing-to-retry-now = Order a new recovery if you want one.
code-retry-elsewhere-what = A capture or a drill is begun anew where it was begun.
code-retry-elsewhere-now = Order the capture anew, or start the runbook again.
