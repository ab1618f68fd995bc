# Long runs, many at a time: `snakemake sweep_mi`, here as many as there are cores; on a cluster
# with `--workflow-profile profiles/slurm`. One job for each cell of a run, and one that writes its
# record. A record that is there is not made again; a run that was killed goes on where it was.
import re
from mlcpc.experiments import sweeps

try:
    SWEEPS = sweeps.read(Path(config.get("sweeps", "workflow/sweeps.yaml")), project.RESULTS)
except ValueError as error:
    raise project.Refusal(error) from None
# Snakemake would end in an error of its own.
for asked in sys.argv[1:]:
    if re.fullmatch(r"sweep_\w*", asked) and asked.removeprefix("sweep_") not in SWEEPS:
        known = ", ".join(f"sweep_{each}" for each in SWEEPS)
        raise project.Refusal(f"no sweep {asked}; valid: {known}")
RUNS = {name: arguments for runs in SWEEPS.values() for name, arguments in runs.items()}
# The cells of what was asked for, and of everything in a job of a cluster, which is told its target
# alone. A record that is there needs none. Files of shared cells carry a hash of their data.
WANTED = [each.removeprefix("sweep_") for each in sys.argv[1:] if each.startswith("sweep_")]
if any(each.startswith("--target-jobs") for each in sys.argv):
    WANTED = list(SWEEPS)


def cells_of(arguments):
    try:
        return sweeps.cells(arguments, project.RESULTS)
    except FileNotFoundError:  # the images lie on the machines that run it: one job then
        return {}


CELLS = {
    name: cells_of(arguments)
    for sweep in WANTED for name, arguments in SWEEPS[sweep].items()
    if not (project.RESULTS / f"{name}.json").is_file()
}
MADE = {  # file -> (run, cell, files it needs); runs may share one
    file: (name, cell, [cells[need][0] for need in needs])
    for name, cells in CELLS.items() for cell, (file, needs) in cells.items()
}
RUN = "OMP_NUM_THREADS={threads} MLCPC_RESULTS={params.results} {PYTHON} -m mlcpc"

for sweep, jobs in SWEEPS.items():

    rule:
        name: f"sweep_{sweep}"
        input: [f"{project.RESULTS}/{name}.json" for name in jobs]

    rule:
        name: f"run_{sweep}"
        input: lambda wildcards: [file for file, _ in CELLS.get(wildcards.name, {}).values()]
        output: f"{project.RESULTS}/{{name}}.json"
        wildcard_constraints: name="|".join(jobs)
        params:
            arguments=lambda wildcards: RUNS[wildcards.name],
            results=lambda wildcards, output: Path(output[0]).parent,
        log: ".snakemake/sweeps/{name}.log"
        threads: 1
        shell: RUN + " {params.arguments} > {log} 2>&1"

if MADE:

    rule cell:
        input: lambda wildcards: MADE[wildcards.file][2]
        output: "{file}"
        wildcard_constraints: file="|".join(map(re.escape, MADE))
        params:
            arguments=lambda wildcards: RUNS[MADE[wildcards.file][0]],
            cell=lambda wildcards: MADE[wildcards.file][1],
            results=project.RESULTS,
        log: ".snakemake/sweeps/{file}.log"
        threads: 1
        shell: RUN + " {params.arguments} --cells {params.cell} > {log} 2>&1"
