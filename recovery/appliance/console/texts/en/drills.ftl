drills-calendar = Drill calendar
drills-calendar-empty = No schedule is on record, so nothing is ever due. Add one:
drills-due-on = due on { $day }
drills-last-by = last by { $by } on { $day }
drills-no-window = begins only when somebody starts it
drills-windows = may begin by itself: { $windows }
drills-readiness = Readiness
drills-proven-of = { $proven } of { $all } endpoints on hardware came back within half a year.
drills-never =
    { $count ->
        [one] Never proven: one endpoint
       *[other] Never proven: { $count } endpoints
    }
drills-overdue = Proven too long ago
drills-virtual-proves-nothing = A virtual endpoint proves the procedure and no hardware; it is not counted.
drills-actions =
    { $count ->
        [one] To be mended: one item
       *[other] To be mended: { $count } items
    }
drills-actions-close = An item closes when the same runbook passes on the same class, and in no other way.
drills-stands-never = Never proven
drills-stands-overdue = Overdue
drills-stands-soon = Due soon
drills-stands-fine = Proven
drill-code-title = { $endpoint } shows a code
drill-code-why = Stand before it and read the four digits on its screen. Nothing is written to it before they match; after three wrong ones the drill goes on without it.
drill-code-field = The code on its screen
drill-code-send = It is this one
report-title = Report
report-languages = Reports are in English and German. What the log and people wrote stays as it was written.
report-page = Page
zones-title = Zones
zones-lead = What evidence and declarations show of each zone. It supports an assessment and is none; the first level is shown, the second might be.
zones-none = The appliance knows of no zones. Write a file of zones and name it as { $key } in the configuration:
zones-aim = Aimed at
zones-shown = Shown – possible
zones-way = In the way
zones-met = Met
zones-unproven = Unproven
zones-gap = Gap
zones-drill = Plan a drill
zones-to-do = What is to do, and whose duty it is
zones-months = Months of the security programme
zones-pack = A month with its evidence and proofs in one signed file:
zones-components = The appliance as a component
zones-link = Zones, months and their reports
