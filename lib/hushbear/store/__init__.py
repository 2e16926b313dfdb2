"""The messages on flash: one file each, inbox and outbox, there whole or not at all.

    Store(root="/msg", reserve=24, log=print)   reserve: flash blocks that messages never take
    .boot()                       after a restart: clear up what was cut short, find the messages
    .entries(box, after=0)        iterate over Entry, oldest first, sequence number above `after`
    .find(box, id) -> Entry | None      .count(box)      .waiting(box): not heard, not fetched
    .oldest_unheard() -> Entry | None   .last_heard() -> Entry | None
    .mark_done(box, id)           heard, fetched          NotFound
    .delete(box, id)              NotFound, Busy while it is open
    .open(box, id) -> Reader      .readinto(buf), .seek(offset), .size, .close(); use `with`
    await .digest(box, id)        SHA-256 of the whole file, in slices
    .free()  .total()             bytes for messages

  Receiving (inbox), one message at a time:
    .offer(id, size, digest) -> offset   where to continue; equal to `size` when it is here already
                                         Malformed, Busy (another is being received), StoreFull
    .append(offset, buf, start, n)       allocates nothing          OutOfRange
    .suspend()                           link lost: keep what came, on flash
    await .commit(id)             checks digest and header, then shows it; returning means that it
                                  is safe. A message that is here already is committed at once.
                                  NotFound, OutOfRange (not all came), Damaged, Busy
  Recording (outbox), one at a time:
    .record(header, size_max=SIZE_MAX) -> Recording       Busy, StoreFull
    Recording.write(buf, n)       allocates nothing; StoreFull before the reserve is touched, and
                                  what came so far can still be kept
    Recording.keep() -> Entry     .discard()      .size      .limit

Every method may raise StoreError for a failing flash. An error carries the `.status` for a phone.

When the flash is full, the oldest messages that nobody waits for make room: heard ones in the
inbox, fetched ones in the outbox; unfinished receptions go first. What was not heard or not fetched
is never given up: StoreFull is raised instead, and nothing was deleted. Neither box may take
more than three quarters of the room, so that family who send a lot leave the child room to answer.
"""
