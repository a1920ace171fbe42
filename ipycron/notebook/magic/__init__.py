"""From the text of `%cron` and `%%cron` to a task: grammar, declaration, commands.

Uses the other rooms of the notebook and the API; nothing imports this room.
"""
