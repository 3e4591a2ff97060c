# The frame of every page. Each message here is a function of the same name in the code (`skip-to-content` is `skip_to_content`).
skip-to-content = Skip to content
lost-connection = Connection lost. What you see is from
main-navigation = Main
tab-endpoints = Endpoints
tab-drills = Drills
tab-plans = Plans
stop-word = STOP
account = Account
sign-out = Sign out
language = Language
what-now = What now:
word-code = Code
back-to-endpoints = Back to the endpoints
