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
PARTS = {name: sweeps.parts(arguments) for name, arguments in RUNS.items()}
WEIGHTS = f"{project.RESULTS}/weights"
RUN = "OMP_NUM_THREADS={threads} MLCPC_RESULTS={params.results} {PYTHON} -m mlcpc"


def files(name, *kinds):
    """The weights that a run needs, of these kinds."""
    return [f"{WEIGHTS}/{file}" for kind in kinds for file in PARTS[name].get(kind, {})]


for sweep, jobs in SWEEPS.items():

    rule:
        name: f"sweep_{sweep}"
        input: [f"{project.RESULTS}/{name}.json" for name in jobs]

    rule:
        name: f"run_{sweep}"
        input: lambda wildcards: files(wildcards.name, *PARTS[wildcards.name])
        output: f"{project.RESULTS}/{{name}}.json"
        wildcard_constraints: name="|".join(jobs)
        params:
            arguments=lambda wildcards: RUNS[wildcards.name],
            results=lambda wildcards, output: Path(output[0]).parent,
        log: ".snakemake/sweeps/{name}.log"
        threads: 1
        shell: RUN + " {params.arguments} > {log} 2>&1"

# A job for each network: a teacher, a plain student of a seed, a student of a seed.
for kind in ("teacher", "plain", "students"):
    # file -> (arguments, the run it is for); runs of several sweeps may share it
    trained = {
        file: (arguments, name)
        for name, parts in PARTS.items() for file, arguments in parts.get(kind, {}).items()
    }
    if trained:

        rule:
            name: f"train_{kind}"
            input:
                lambda wildcards, kind=kind, trained=trained: (
                    files(trained[wildcards.file][1], "teacher") if kind == "students" else []
                ),
            output: f"{WEIGHTS}/{{file}}"
            wildcard_constraints: file="|".join(map(re.escape, trained))
            params:
                arguments=lambda wildcards, trained=trained: trained[wildcards.file][0],
                results=lambda wildcards, output: Path(output[0]).parent.parent,
            log: ".snakemake/sweeps/{file}.log"
            threads: 1
            shell: RUN + " {params.arguments} > {log} 2>&1"
