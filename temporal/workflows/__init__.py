"""Every workflow, registered. Add yours at the end: import it, then append it."""

from temporal.workflows.automation.decommission_server import DecommissionServer
from temporal.workflows.automation.detect_drift import DetectDrift
from temporal.workflows.automation.patch_fleet import PatchFleet
from temporal.workflows.automation.plan_fleet import PlanFleet
from temporal.workflows.automation.plan_server import PlanServer
from temporal.workflows.automation.provision_fleet import ProvisionFleet
from temporal.workflows.automation.provision_server import ProvisionServer
from temporal.workflows.automation.run_command import RunCommand
from temporal.workflows.backup.back_up import BackUp
from temporal.workflows.backup.drill_restore import DrillRestore
from temporal.workflows.backup.inspect_backups import InspectBackups
from temporal.workflows.backup.list_snapshots import ListSnapshots
from temporal.workflows.backup.maintain_repository import MaintainRepository
from temporal.workflows.backup.restore_backup import RestoreBackup
from temporal.workflows.test import TestWorkflow

WORKFLOWS: list[type] = []

WORKFLOWS.append(TestWorkflow)
WORKFLOWS.append(ProvisionServer)
WORKFLOWS.append(PlanServer)
WORKFLOWS.append(ProvisionFleet)
WORKFLOWS.append(PlanFleet)
WORKFLOWS.append(DetectDrift)
WORKFLOWS.append(RunCommand)
WORKFLOWS.append(PatchFleet)
WORKFLOWS.append(DecommissionServer)
WORKFLOWS.append(BackUp)
WORKFLOWS.append(RestoreBackup)
WORKFLOWS.append(DrillRestore)
WORKFLOWS.append(InspectBackups)
WORKFLOWS.append(MaintainRepository)
WORKFLOWS.append(ListSnapshots)
