"""What a family can set: its layout and its ranges.

Shared by toy and companion, as wire.py is, whose rules hold. The toy loads it for the request.
"""

# SETTINGS response and CONFIGURE request: volume %, highest volume %, LED brightness %, flags,
# quiet hours from and to (minutes of the local day), shortest recording ms, longest recording s,
# days that a message is kept (0 = as long as there is room), language (two lower-case letters;
# zeros = the one that was flashed first)
SETTINGS_BODY = "<BBBBHHHHH2s"
QUIET_HOURS = 1  # flag: quiet hours are kept
UNTIL_HEARD = 2  # flag: what was heard, and answers that were fetched, go soon after
DAY_MINUTES = 24 * 60
RECORD_MIN_MS = (300, 5000)  # what the shortest recording may be set to
RECORD_MAX_S = (1, 60)  # what the longest recording may be set to
KEEP_DAYS_MAX = 365
