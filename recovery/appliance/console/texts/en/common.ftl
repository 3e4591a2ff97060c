# How the console says times, sizes, states and rights.
decimal-sign = .
duration-seconds = { $s } s
duration-minutes = { $m } min { $s } s
duration-hours = { $h } h { $m } min
byte-unit = B
rate-per-second = { $bytes }/s
bytes-of = { $done } of { $total }
never = never
go-back = Go back
no-back = No, go back
why-field = Why? (goes into evidence, may stay empty)
state-discovered = Discovered
state-known = Known
state-trusted = Trusted
state-suspect = Suspect
state-recovering = Recovering
state-held = Needs you
job-working = Working
job-held = Held
job-recovered = Recovered
job-captured = Captured
job-cancelled = Cancelled
job-failed = Failed
stretch-approve = Approve
stretch-network = Start from the network
stretch-prove = Prove the hardware
stretch-write = Write the golden image
stretch-start = Start the restored system
stretch-enrol = Enrol
stretch-read = Read the disk into the store
stretch-own = Start its own system again
stretch-ahead = to come
stretch-now = now
stretch-stopped = stopped here
stretch-done = done
stage-proposed = asked for
stage-admitted = checked against the guard rails
stage-approved = approved
stage-fenced = old identity revoked
stage-ticketed = boot ticket issued
stage-powering = powering into network boot
stage-agent-wait = waiting for the recovery system
stage-proving = proving the hardware
stage-capturing = reading the disk into the store
stage-imaging = writing the golden image
stage-read-back = reading back
stage-disarming = ticket voided, rebooting
stage-os-wait = waiting for the restored system
stage-verifying = verifying the restored system
stage-enrolling = enrolling
stage-registering = registering with the control plane
stage-releasing = lifting quarantine
activity-scanning = Reading the disk
activity-writing = Writing
activity-reading-back = Reading back
activity-erasing = Erasing the disk
activity-keeping = Keeping what may show the cause
role-technician = technician
role-engineer = engineer
role-approver = approver
role-auditor = auditor
role-admin = admin
role-automation = automation
or-word = or
why-not-role = You are { $role } here, and may not { $what }: ask somebody who is { $who }.
why-not-nothing = There is nothing behind this.
drill-word = DRILL
drill-not-real = Rehearsal: nothing of production is touched.
stop-banner = STOP stands.
stop-banner-more = No recovery begins, and what was writing stops with its next report.
stop-banner-link = Who, why, and how to release it
stop-one-more = { $by } released it. One more person must, until { $moment }.
stop-title = STOP for the whole site
stop-what = Every recovery that could still switch or write is held, and none begins, until two people have released it.
stop-disks = An endpoint whose disk is half written does not boot until its job is resumed. One whose disk is untouched boots it as before.
stop-stands = STOP stands
stop-pressed = { $by } pressed it at { $moment }, { $time } ago.
stop-no-reason = No reason was given.
stop-held =
    { $n ->
        [one] { $n } job was held by it.
       *[other] { $n } jobs were held by it.
    } After the release they are resumed one by one.
stop-goes-on = This goes on all the same:
stop-now-second = { $by } released it: { $reason } Another person must too, until { $moment }.
stop-now-first = Find out why. Then two people release it, each by their own name.
stop-found = What was found, and why it may go on
stop-release = Release STOP
stop-again = STOP again
stop-again-what = Pressed again, a release that was given is void.
stop-own-release = Another person must release it too: you gave the first release.
glass-banner = The glass was broken.
glass-banner-late = The glass was broken, and nobody looked at it in time.
glass-count =
    { $n ->
        [one] { $n } recovery went on without approval.
       *[other] { $n } recoveries went on without approval.
    }
glass-link = Who, why, and what another person says
glass-nobody = Nobody is here to approve
glass-what = The recovery may begin without the second person. It is an alarm, it stands under your name, and another person reviews it within 24 hours. Guard rails, STOP and the machine's own permit still count.
glass-happened = What happened
glass-break = Break the glass
glass-mark = { $by } let it go on without the approval that it wants.
glass-review = Review
glass-title = Broken glass
glass-none = Nothing waits for a review.
glass-began = { $by } began its recovery without approval at { $moment }:
glass-overdue = Overdue since { $moment }.
glass-due = To be reviewed until { $moment }.
glass-job = The job and its evidence
glass-own = Another person must review it: you broke this glass yourself.
glass-found = What you found
glass-right = It was right
glass-wrong = It was not
plans-title = Standing plans
plans-what = A plan is an approval that two people give beforehand: a recovery that would wait for one at night begins by itself. It counts for the endpoints and the image that it names, as they were; when anything of it changes, it is void.
plans-none = There is none. One is made on the command line:
plans-try = Try another configuration against what was reported before
plan-proposed = to be approved
plan-standing = stands
plan-over = over
plan-any-time = at any time
plan-whom = Whom
plan-endpoints =
    { $n ->
        [one] { $n } endpoint
       *[other] { $n } endpoints
    }: { $names }
fig-image = Image
plan-begun-by = Begun by
plan-trigger = a confirmed integrity failure from { $triggers }
col-when = When
plan-day = Within 24 hours
plan-of = { $n } of { $most }
plan-made-by = Made by
by-at = { $by } at { $moment }
plan-approved-by = Approved by
nobody-yet = nobody yet
plan-ends = Ends
plan-own = Another person must approve it: you made it or approved it already.
plan-withdraw = Withdraw
policy-title = Try a policy
policy-what = What another configuration would have made of what was reported before. Nothing of it is put into effect.
policy-config = Configuration, as in the appliance's file
policy-days = Days to look back
policy-try = Try it
policy-begun = { $n } would have begun by themselves
policy-reports =
    { $n ->
        [one] Reports in { $n } day
       *[other] Reports in { $n } days
    }
policy-begin = Would have begun by themselves
policy-ask = Would have asked a person
policy-quarantine = Endpoints no longer trusted
policy-join = Joined an open recovery
policy-nothing = Nothing
policy-region = What would have been done
col-endpoint = Endpoint
col-source = Source
col-would = Would
col-because = Because
policy-because = Nothing, because
policy-left-out =
    { $n ->
        [one] { $n } older report was left out.
       *[other] { $n } older reports were left out.
    }
policy-not-replayed = Not replayed
drills-none = None since the appliance started.
drill-passed = { $n } of { $all } steps passed
drill-start-title = Start a drill
drill-none-safe = No endpoint may be drilled. Put a bench, spare-disk or virtual endpoint on record as drill-safe:
drill-runbook = Runbook
drill-really = A drill writes only to endpoints that may be drilled. It really writes to them.
drill-start = Start the drill
drill-recoveries = Recoveries of this drill
drill-who = Who did it, if not you
drill-note = Note (goes into the report, may stay empty)
yes-word = Yes
no-word = No
drill-running = Running
drill-waiting = Waits for a person
drill-succeeded = Succeeded
drill-partly = Partly succeeded
drill-failed = Failed
drill-stopped = Stopped
step-passed = passed
step-failed = failed
step-running = running
step-waiting = waiting for a person
step-ahead = to come
step-skipped = skipped
boot-title = Its network boot
boot-chain = chain { $chain }
boot-offered = offered { $offer }
boot-began = began { $moment }
col-after = After
col-step = Step
col-outcome = Outcome
col-what = What
boot-before = Before, { $moment }:
boot-foreign = Another server on the boot network
boot-on = { $server } on { $interface }:
last-heard = Last heard { $moment }
boot-twice = An address is in use twice, or may be
boot-used-by = { $address } is used by { $mac } without a lease:
