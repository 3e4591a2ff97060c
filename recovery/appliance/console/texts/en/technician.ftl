# Endpoints and their recoveries, as a person at the machine reads them.
hold-seconds = Hold { $s } s
hold-started = Started
hold-to-recover = Hold to recover
hold-help = Hold for 3 seconds. Letting go stops it.
endpoint-refused = It was refused
endpoint-refused-stands = This stands here until it proves itself. The evidence log has each refusal with its time.
conflict-title = Who is this?
conflict-came = Another one came with an address of { $endpoint }:
conflict-times =
    { $n ->
        [one] { $n } time
       *[other] { $n } times
    } since { $moment }
conflict-say = It is not recovered until you say which it is. If you did not move or replace anything, isolate the other one.
conflict-keep = The one on record stays; refuse the other
conflict-replace = Its hardware was replaced by this
pair-title = Is this code on its screen?
pair-why = The endpoint has no TPM to prove itself with. Compare the code with the screen of { $endpoint }.
pair-yes = Yes, the codes are the same
pair-differ = If they differ: isolate the endpoint. Another one may be answering in its name.
last-recovery = Last recovery
took = took { $time }
open-job = Open the job
unknown-why = It was seen and is not on record: it boots its own disk and gets nothing. Put it on record; then it can be recovered.
unknown-forget = Or forget it:
recover-title = Recover { $endpoint }
recover-lost = Everything on its disk is replaced by the golden image of { $blueprint }. Nothing on it is kept.
recover-would-wait = It would wait:
last-time = Last time it took { $time }.
recover-sure = Recover { $endpoint }?
yes-recover = Yes, recover { $endpoint }
all-of-job = All of this job, with its evidence
tpm-weaker = The TPM is believed since its first approved recovery: a weaker proof than its maker's.
facts-title = What it is
fact-kind = Kind
fact-safety = Safety class
fact-redundancy = Redundancy group
fact-ethernet = Ethernet
fact-docked = (dock or USB adapter: identifies nobody)
none-on-record = none on record
fact-maker = TPM's maker
fact-chain = Boot chain
fact-certificate = Certificate
not-enrolled = not enrolled
fact-seen = Last seen
fact-proof = Last proof
may-be-drilled = may be drilled
never-drilled = never drilled
fact-serial = Serial number
fact-firmware = Firmware
fact-memory = Memory
fact-disk = Disk
disk-serial = serial { $serial }
disk-path = at { $path }
disk-removable = (removable: never written)
disk-health = health: { $health }
disk-erase = can erase itself by: { $by }
hardware-title = What it is made of, who told it and when
hardware-region = Hardware facts
col-has = It has
col-as = As
col-since = Since
col-told = Told by
col-last = Last
hardware-unknown = What nobody told is not shown: unknown is not zero.
told-recovery = the recovery system
told-restored = the system on its disk
fw-bios = BIOS
fw-uefi = UEFI, Secure Boot off
fw-uefi-secure = UEFI, Secure Boot on
none-meant = None is meant by this.
show-all = Show all
glass-mark-short = GLASS BROKEN
row-conflict = Another one came with its address. Open it and say which it is.
row-since = { $time } since it was asked for.
row-suspect = Its integrity is in doubt. Open it and decide.
row-discovered = Seen on the network, not on record. It gets nothing.
row-proved = Last proved itself at { $moment }.
row-enrolled = Enrolled.
row-known = On record, not enrolled.
net-refused = Refused on the boot network
net-refused-times =
    { $n ->
        [one] { $n } time
       *[other] { $n } times
    }, last at { $moment } from { $from }.
none-yet = No endpoint yet
none-yet-put = Put one on record on the appliance:
none-yet-boot = Or let one boot from the network: it appears here as discovered.
capture-of = Capture of { $endpoint }
recovery-of = Recovery of { $endpoint }
asked-by = asked for by { $trigger }
job-id = Job { $job }
image-id = image { $image }
limit-says = If nothing moves, it stops and says why at { $moment }.
preserved-given-up = Preserved partitions are given up.
preserved-given-up-more = What the endpoint has on them is written over with what the image has there.
button-approve = Approve
button-go-on = Go on
button-give-up = Give up
button-stop = Stop
button-cancel = Cancel
stop-sure = Stop the recovery of { $endpoint }?
stop-late = Its disk is being written: { $endpoint } does not boot until the recovery is finished.
stop-early = Its disk is untouched so far.
yes-stop = Yes, stop it
plan-result = Plan and result
fig-keep = Already right
fig-preserved = Preserved, hashed before and after
fig-move = Elsewhere on the disk
fig-fetch = To fetch
in-chunks =
    { $n ->
        [one] { $bytes } in { $n } chunk
       *[other] { $bytes } in { $n } chunks
    }
fig-zero = To make zero
fig-health = Disk health
fig-erased = Disk erased
fig-wire = Over the network
fig-written = Written
fig-read-back = Read back, equal
fig-boot-entry = Firmware's boot entry
entry-kept = was right
entry-set = set
entry-refused = the firmware refused it: see that it boots this disk by itself
exhibit-choice = Keep what may show the cause first; it takes a minute at most
exhibit-title = Kept of the old system
exhibit-will = What may show the cause is kept before anything is written.
exhibit-ordered = The endpoint was told to keep it, within { $seconds } s; it has not said yet what came of it.
exhibit-kept = It lies with the appliance, apart from golden images, and is never restored.
exhibit-nothing = Nothing was kept; the recovery went on.
exhibit-deleted = It was deleted by { $by }; its record stays.
exhibit-bytes = Size
exhibit-files = Files
exhibit-took = Took
exhibit-until = Deleted by itself
exhibit-cut =
    { $n ->
        [one] { $n } thing was left out
       *[other] { $n } things were left out
    }
captured-title = What was captured
fig-kept = Kept
fig-free = Free, left out
captured-look = Look at this before you sign it
phases-title = Phases
col-phase = Phase
col-time = Time
in-all = In all
evidence-title =
    { $n ->
        [one] Evidence ({ $n } entry)
       *[other] Evidence ({ $n } entries)
    }
evidence-check = Check the whole log with { $command }.
said-recovered = { $endpoint } runs { $image } again and has proven it.
said-recovered-plane = The disk of { $endpoint } is { $image } again, read back. That it runs is the word of a control plane, and no proof.
said-recovered-person = The disk of { $endpoint } is { $image } again, read back. That it runs is the word of a person, and no proof.
said-captured = The disk of { $endpoint } is in the store as { $image }.
now-sign = Have it signed by its signers.
said-given-up = Given up in the stage “{ $stage }”.
said-untouched = Stopped in the stage “{ $stage }”; the disk was not touched.
now-order-new = The endpoint does not boot now; order a new recovery.
now-failed = The job was given up; order a new recovery when the cause is mended.
now-by-hand = Switch the endpoint off and on and choose network boot in its firmware.
record-says = The record says:
scan-title = Which machine?
scan-how = Scan the code on the machine, or touch it in the list.
scan-field = Code on the machine
scan-open = Open
scan-camera = Scan with the camera
scan-camera-stop = Stop the camera
scan-no-camera = This browser does not read codes. The scanner and the list work.
scan-camera-refused = The camera cannot be used. The scanner and the list work.
scan-unreadable = This is no code of a machine. Scan again, or touch the machine in the list.
scan-tab = Scan
scan-list = Machines
line-named = Line { $line }
photo-of = Picture of { $endpoint }
photo-none = No picture yet
photo-title = Picture of the machine
photo-what = A technician compares it with what stands before them. JPEG, PNG or WebP, at most 512 KiB.
photo-file = Picture file
photo-send = Use this picture
photo-remove = Remove the picture
machine-this = Is it this machine?
machine-compare = Compare picture and name with the machine before you.
machine-yes = Yes, this machine
machine-no = No, another one
saved-state = Saved state: { $image }
saved-age =
    { $n ->
        [one] saved { $n } day ago
       *[other] saved { $n } days ago
    }
saved-today = saved today
saved-none = There is no saved state that it could return to.
usual-time = Usually { $from }, nine of ten within { $to } ({ $n } recoveries)
usual-unknown =
    { $n ->
        [one] How long it takes is not known yet: { $n } recovery so far
       *[other] How long it takes is not known yet: { $n } recoveries so far
    }
safety-title = Before you begin
safety-0 = No production depends on this machine.
safety-1 = The line notices when it is missing. Tell the shift first.
safety-2 = Others rely on it. Another person must approve before anything is written.
safety-3 = It is safety-related. It needs a second person, and no emergency skips that.
safety-kind-panel = Its screen goes dark meanwhile. Watch the process at another panel.
safety-kind-server = What it serves to others is missing meanwhile.
safety-kind-computer = Whoever works at it must save and leave it now.
safety-lost = Lost: everything on its disk since the saved state.
safety-kept = Kept: { $parts }
safety-nothing-kept = Kept: nothing on it.
safety-tick = The machine is stopped or safe without it
safety-missing = Tick the box first: the machine must be stopped or safe.
walk-away = You may walk away until { $moment }
walk-late = It takes longer than usual. Look at its screen.
walk-unknown = Stay near: how long it takes is not known yet
walk-stay = Stay here: it needs you
heard-ago = Last heard { $time } ago
heard-never = Not heard yet
live-title = Does the screen show live values?
live-what = Look at the machine. Your answer goes into evidence.
live-yes = Yes, live values
live-no = No
done-title = Done
done-what = { $endpoint } works again. You may go.
next-machine = Next machine
recover-again = Recover it again
not-live-title = It runs its saved state, and shows no live values
not-live-dark = Screen dark: check power and the cable to the screen.
not-live-stale = Picture without values: check the network cable, and whether the controller runs. Wait two minutes.
not-live-call = Still none: call an engineer and name the code.
not-live-now = It shows live values now
phone-opens-it = Scan this with a phone: it opens the same page.
engineers-page = All about this machine
card-print = Card to print
card-title = Card of { $endpoint }
card-scan = Scan to recover
card-step-1 = Make the machine safe
card-step-2 = Scan this code
card-step-3 = Compare picture and name
card-step-4 = Tick, then hold 3 seconds
card-step-5 = If asked: switch it off and on
card-step-6 = Check the live values
card-black = Screen black: hold the power button for 10 seconds.
card-phone = Call
card-unreachable = If the page does not open
card-unreachable-1 = Use the tablet at the line, or another phone.
card-unreachable-2 = See that the appliance has power and its network lamp is lit.
card-unreachable-3 = Leave the machine as it is and call. Write it down below.
card-log-when = When
card-log-who = Who
card-log-what = What
card-printed = Printed { $date }, card { $version }
