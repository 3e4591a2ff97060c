# Pages for those who run the site.

## Names of pages and roles
tab-home = Home
tab-approvals = Approvals
tab-network = Network
tab-site = Site
tab-more = More

## What waits for somebody
home-title = What waits for somebody
home-nothing = Nothing waits for anybody.
home-states = Endpoints by state
home-all =
    { $count ->
        [one] { $count } endpoint in all
       *[other] { $count } endpoints in all
    }
home-running =
    { $count ->
        [one] { $count } job runs
       *[other] { $count } jobs run
    }
home-until = until
home-for = waiting for
home-you-may = You may do this.
home-they-may = May be done by: { $roles }.
home-stands = stands
home-stop =
    { $count ->
        [one] { $person } pressed STOP; { $count } job is held by it.
       *[other] { $person } pressed STOP; { $count } jobs are held by it.
    }
home-stop-next = Find out why; then two people release it, each by their own name.
home-asks = asks for approval
home-conflict-word = who is this?
home-conflict = Another one came with its address.
home-conflict-next = Open it and say which it is; it is not recovered until then.
home-suspect-title =
    { $count ->
        [one] { $count } endpoint
       *[other] { $count } endpoints
    }
home-suspect = Their integrity is in doubt.
home-suspect-next = Look at each and recover it, or find out what changed.
home-network-word = boot network
home-foreign-title = Another server: { $server }
home-foreign-next = Find it and switch it off, or keep it out of the boot network.
home-address-next = Find { $by } and give it another address.
home-refused-word = refused
home-refused =
    { $count ->
        [one] { $count } time, last from { $from }: { $why }
       *[other] { $count } times, last from { $from }: { $why }
    }
home-refused-next = Look whether it belongs on the boot network.
home-overdue = overdue
home-review-word = review due
home-review = { $person } began its recovery without approval: { $reason }
home-review-next = Another person says whether it was right.
home-plan =
    { $count ->
        [one] A standing plan of { $by } for { $count } endpoint.
       *[other] A standing plan of { $by } for { $count } endpoints.
    }
home-plan-next = Two people approve it, or one withdraws it.
home-drill-word = a drill asks
home-drill-next = Answer the step.
home-due-word = due
home-room-title = The disk is nearly full
home-room = { $free } of { $total } are free
home-room-next = Make room: collect images that nobody needs, or give it a larger disk.
home-backup-title = Backup
home-backup-old = The last backup of the appliance is older than a week.
home-backup-none = No backup of the appliance is on record.
home-backup-next = Save its state on the appliance and keep the file elsewhere.
home-drill-schedule = By its schedule the runbook { $runbook } is to be rehearsed.
home-drill-schedule-next = Start it on the page of drills.
home-drill-due-title = Rehearsal
home-drill-old = The last drill was more than a quarter of a year ago.
home-drill-none = Nothing was ever rehearsed here.
home-drill-due-next =
    { $count ->
        [one] Run one: { $count } endpoint may be drilled.
       *[other] Run one: { $count } endpoints may be drilled.
    }
home-seen-title =
    { $count ->
        [one] { $count } endpoint was seen
       *[other] { $count } endpoints were seen
    }
home-seen = They are on the network and not on record; they get nothing.
home-seen-next = Put those that belong here on record.

## Lists
list-words = Words
list-selector = Those of which this is true
list-sort = Order
list-sort-need = who needs somebody
list-sort-name = name
list-sort-seen = last sign of life
list-sort-line = line
list-show = Show
list-found =
    { $count ->
        [one] { $count } found
       *[other] { $count } found
    }
list-pages = Pages
list-first = First page
list-next = Next page

## Approvals
approvals-none = Nothing asks for an approval.
approvals-plans =
    { $count ->
        [one] { $count } standing plan waits for approval
       *[other] { $count } standing plans wait for approval
    }
approvals-reviews =
    { $count ->
        [one] { $count } recovery without approval waits for its review
       *[other] { $count } recoveries without approval wait for their review
    }
approvals-asked-by = { $person } asked for it at
approvals-until = Given up at
approvals-second = Another person than they must approve.
approvals-job = The job and its evidence
approvals-of = What
approvals-now = Now
approvals-then = After it
approvals-image = Image
approvals-never = never recovered here
approvals-capture = read into the store as { $name }
approvals-same = (the same)
approvals-disk = Disk
approvals-only-disk = its only disk
approvals-read-only = is read, not written
approvals-erased = Erased first ({ $how }).
approvals-all = Everything on it is replaced, also what the image preserves.
approvals-but-preserved = Everything on it is replaced but what the image preserves.
approvals-mode = Kind
approvals-drill = a drill
approvals-real = the real thing
approvals-reason = Why (goes into evidence; a refusal needs it)
approvals-approve = Approve
approvals-deny = Deny

## The boot network
network-interfaces = Interfaces
network-no-interface = No interface is served: add an [[interfaces]] entry to the configuration.
network-observe = it listens and answers nobody
network-proxy = the site's DHCP gives addresses, the appliance the boot files
network-full = the appliance gives addresses and boot files
network-foreign = Other DHCP and boot servers
network-foreign-none = None was heard of since the start.
network-in-the-way = in the way
network-harmless = as it should be
network-heard =
    { $count ->
        [one] Heard { $count } time at { $interface },
       *[other] Heard { $count } times at { $interface },
    }
network-remedy-both = Find { $server }: look up its Ethernet address in the switch. If it is a router or laptop that serves DHCP, switch that off; if it is meant to be, take it out of this VLAN.
network-remedy-boots = Firmware keeps the first boot offer: take options 66 and 67 or the boot service off { $server }, or give endpoints a VLAN without it.
network-remedy-gives = Two servers give addresses here: switch off DHCP on { $server }, or set this interface to proxy.
network-probe = Ask who else serves boots
network-probe-help = Every interface is asked; it takes some seconds.
network-boots = Boots
network-boots-none = Nobody asked to boot from the network since the start.
network-who = Who
network-reached = Came to
network-matter = What is the matter
network-last = Last seen
network-more = and { $count } more
network-silent =
    { $count ->
        [one] { $count } endpoint was not heard of: show it
       *[other] { $count } endpoints were not heard of: show them
    }
network-boot-of = Network boot of { $endpoint }
trace-title = How far it came
trace-missing = The hop that did not come: { $hop }.
trace-gap = this did not come
trace-not-reached = not reached
trace-table = The same as a table
trace-hop = Hop
trace-at = After
trace-took = Took
trace-what = What was seen
trace-picture = A boot of { $duration } that came to { $reached }; the table below says the same.
code-discover-hop = discover
code-offer-hop = offer
code-file-hop = boot file
code-kernel-hop = kernel
code-agent-hop = agent

## The appliance itself
site-appliance = Appliance
site-version = Version
site-up = Runs for
site-certificates = Certificates
site-tls = Its own (TLS)
site-until = until
site-unreadable = cannot be read
site-pin = Key that endpoints pin (SHA-256)
site-renewed = It is made anew by itself 30 days before it ends; the key stays.
site-backup = Backup
site-saved = Last saved at
site-backup-how = On the appliance, while it runs; the file is encrypted with a passphrase:
site-restore-how = Onto an empty machine it comes back by
site-takeover = Who writes
site-nobody-writes = No appliance was named; this one writes.
site-we-write = This appliance writes (term { $term }).
site-other-writes = Another appliance, { $holder }, writes (term { $term }); this one is fenced.
site-since = Since
site-takeover-how = A second appliance on this database takes over by one order:
site-storage = Storage
site-data-dir = Data directory
site-free = Room
site-database = Database
site-images = Image store
site-depot = Object store
site-trouble = trouble
site-sinks = Who gets the evidence
site-delivers = delivers
site-behind =
    { $count ->
        [one] { $count } entry behind
       *[other] { $count } entries behind
    }
site-delivered = last at
site-dead =
    { $count ->
        [one] { $count } refused for good:
       *[other] { $count } refused for good:
    }
site-ports = Open ports
site-port = Port
site-purpose = For
site-at = At
site-more = More of this site
site-policy = Try another policy
site-reviews = Recoveries without approval
site-metrics = Figures for a monitoring system
code-people-port = console and REST
code-endpoints-port = agents and enrolment
code-dhcp-port = DHCP
code-boot-server-port = boot server (PXE)
code-tftp-port = TFTP
code-http-boot-port = HTTP boot and images
code-https-boot-port = HTTPS boot
code-syslog-port = what loaders say
