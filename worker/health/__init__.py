"""The health of a worker process, and what it serves over HTTP.

watchdog.py  ends a process whose lanes are stalled; probes the database
serve.py     the answers to /livez, /readyz, /metrics, /api/proof and a market's book
"""
