"""State and secrets for a team: an S3 bucket and a KMS key, least-privilege policies, moving stacks, passwords.

names      what may be named how, and every name that follows from a bucket
aws        the door to AWS, and its refusals in words for people
setting    one setting of a resource; bucket, key: the settings there are
provision  init and check, one walk; destroy: the way back
policies   IAM policies by role
migrate    a stack from one backend to another, through the Pulumi CLI (pulumi_cli)
secrets    the passwords a stack needs; local_secrets: those of the embedded cluster
"""
