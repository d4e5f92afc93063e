"""The stage that demo and stress test share: an exchange, its workers, and the report.

exchange.py  tables, topics and streams, workers as processes, readers and publishers
program.py   exit codes and deadlines of such a program
show.py      lines and bars while it runs, and the table of the proof
"""
