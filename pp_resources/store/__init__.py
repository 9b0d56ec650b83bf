"""What happened in use: inferences, feedback, examples, jobs, the queue and decisions, durably and by time.

SQLite under the home folder by default, PostgreSQL by address through the same code. Knows no task's schema. `rows` holds what can be
written, `opened.open_store` the way in, `recorder.Recorder` the way in that outlives an outage of the store.
"""
