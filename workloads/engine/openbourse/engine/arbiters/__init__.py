"""Who holds the leadership record of a shard, and how a member's asks reach it. Nothing here decides who leads.

`arbiter.Arbiter` is the port. `record_folder` keeps the record in a folder that the members on one machine share,
`record_lease` in a Lease of Kubernetes; a member alone has it on its own volume (`own_record`), and brings it along
when others come (`shared_lease`). `asking.Asker` carries out what a `replication.Member` asks of it, and hands in
the outcomes.
"""
