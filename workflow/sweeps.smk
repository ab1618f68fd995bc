# Long runs, many at a time: `snakemake sweep_mi --workflow-profile workflow/profiles/local`.
# A record that is there is not made again. A run that was killed goes on from its checkpoint.
sys.path.insert(0, str(Path(workflow.basedir) / "workflow"))
import sweeps

SWEEPS = sweeps.read(Path(config.get("sweeps", "workflow/sweeps.yaml")), project.RESULTS)
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
