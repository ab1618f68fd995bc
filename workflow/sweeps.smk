# Long runs, many at a time: `snakemake sweep_mi`, here as many as there are cores; on a cluster
# with `--workflow-profile profiles/slurm`.
# A record that is there is not made again. A run that was killed goes on from its checkpoint.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
import re
import sweeps

SWEEPS = sweeps.read(Path(config.get("sweeps", "workflow/sweeps.yaml")), project.RESULTS)
# Snakemake would end in an error of its own.
for asked in sys.argv[1:]:
    if re.fullmatch(r"sweep_\w*", asked) and asked.removeprefix("sweep_") not in SWEEPS:
        known = ", ".join(f"sweep_{each}" for each in SWEEPS)
        raise sweeps.Refusal(f"no sweep {asked}; valid: {known}")
RUNS = {name: arguments for runs in SWEEPS.values() for name, arguments in runs.items()}

for sweep in SWEEPS:

    rule:
        name: f"sweep_{sweep}"
        input: [f"{project.RESULTS}/{name}.json" for name in SWEEPS[sweep]]

    rule:
        name: f"run_{sweep}"
        output: f"{project.RESULTS}/{{name}}.json"
        wildcard_constraints: name="|".join(SWEEPS[sweep])
        params: arguments=lambda wildcards: RUNS[wildcards.name]
        log: ".snakemake/sweeps/{name}.log"
        threads: 1
        shell:
            "OMP_NUM_THREADS={threads} MLCPC_RESULTS=$(dirname {output})"
            " {PYTHON} -m mlcpc {params.arguments} > {log} 2>&1"
