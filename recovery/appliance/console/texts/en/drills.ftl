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
