"""The service.

settings     what can be set, by environment or file, and what is refused
schema       the tables; migrations make and change them
database     SQLite or PostgreSQL: engine, transactions, whether it is open to strangers
bodies       where message bodies are: in the database, or in an S3-compatible store
mailboxes    mailboxes, members and messages, in transactions
rendezvous   numbered channels for invitations, in transactions
guard        nonces, and how many of a kind a source may do a minute
arrivals     long polls: who waits for which mailbox, across processes
service      what the requests of a process share
incoming     who signed a request, and its body, within bounds and deadlines
app, routes  the HTTP API, and its OpenAPI description
protocol     deadlines and bounds below the API: slow and endless headers
metrics, logs
             what the operator sees: counts and times, nobody's name or address
upkeep       purge, backup, figures
serve, cli   the process, and the `hushbear-relay` command
"""
