"""Runs as Slurm jobs: the script that sbatch takes, sweeps as job arrays, and what is asked of the queue."""
