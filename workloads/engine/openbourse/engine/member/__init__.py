"""One member of a shard at work: what `replication` decides is carried out here, on links, a journal and a clock.

`replica.Replica` is the member; it hands in what happens and does what is wanted. It meets the others through `peers`,
which has a link for each (`links`, in the words of `link_messages`), a `feed` of records, and `snapshot_transfer` for
those that are far behind. `watch` says whom it suspects, `testimony` what its volume holds. Pure are `kept`,
`own_disk`, `take_overs` and `watch`.
"""
