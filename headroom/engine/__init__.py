"""The only room that knows Pulumi: it runs the program and deploys what it registers, by Pulumi or by kubectl.

`headroom.engine.render` renders, `headroom.engine.select` chooses an engine, `headroom.engine.model` has the types of
both. Importing any of them does not import Pulumi.
"""
