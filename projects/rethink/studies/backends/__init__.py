"""Where jobs run: on this machine (``local``) or on a cluster (``slurm``).

A backend has ``command(job)``, the exact command of a job there, and ``run(jobs, folder)``, which runs what is not
finished, shows one progress bar, and returns the jobs that failed, each with a sentence. A job that fails stops only
those that need it. Started again, both go on from the last checkpoints.
"""
