"""`pp serve`: the HTTP gateway. Tasks are functions, their variants answer, every answer is on disk before it is given.

`process` starts it, `edge` is the door that every request comes through, `function` who answers, `upstream` and `engine` how, `logbook`
how it is kept. Routes hold no rule of their own.
"""
