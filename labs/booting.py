"""The way of VMs from nothing, or from wherever a former `up` left them, to hosts that answer."""

import asyncio
import time
from dataclasses import dataclass

from podnet.labs import ear, host
from podnet.labs.disk import OVERLAY
from podnet.labs.error import LabError
from podnet.labs.snapshot import Snapshot
from podnet.labs.told import Told
from podnet.labs.vm import Vm

BOOTS_WITHIN = 600.0  # four at once take 30 s, and five times that where others use the processors
RESTORED_WITHIN = 15.0
AT_ONCE = 4
LOOK_EVERY = 0.1
TAIL = 15
SETTLED = """\
systemctl is-system-running --wait
until ip -4 addr show dev eth0 | grep -q inet; do sleep 0.1; done
sync
"""


@dataclass(frozen=True)
class Booting:
    """One `up`: what all its VMs are told, and the descriptor that keeps their image."""

    names: str
    holder: int

    async def all_of(self, vms: list[Vm]) -> None:
        """Bring all up, a few at a time; tell of all that fail."""
        turn = asyncio.Semaphore(AT_ONCE)
        ends = await asyncio.gather(*(self.one(vm, turn) for vm in vms), return_exceptions=True)
        for end in ends:
            if isinstance(end, BaseException) and not isinstance(end, LabError):
                raise end
        if failed := [str(end) for end in ends if end]:
            raise LabError("\n".join(failed))

    async def one(self, vm: Vm, turn: asyncio.Semaphore) -> None:
        """See one VM come up, whatever state it is in."""
        async with turn:
            start = time.monotonic()
            try:
                async with asyncio.timeout(BOOTS_WITHIN):
                    came_up = await self.settle_twice(vm)
            except (TimeoutError, OSError, LabError) as error:
                raise LabError(complaint(vm, error)) from error
            if came_up:
                print(f"{vm.name} is up ({time.monotonic() - start:.1f} s)", flush=True)

    async def settle_twice(self, vm: Vm) -> bool:
        """Settle it; and again, if it ran, but was on its way down when we came."""
        ran = vm.runs
        try:
            return await self.settle(vm)
        except ear.EndedError:
            if not ran:
                raise
            vm.stop()
            return await self.settle(vm)

    async def settle(self, vm: Vm) -> bool:
        """Start the VM unless it runs, tell it what it has not been told; return whether it was not up before."""
        told, script = Told(vm), vm.script(self.names)
        was_up = vm.runs and told.image != "" and host.greets(vm.port)
        if was_up and told.same(script):
            return False
        if not (vm.runs and told.image):
            if told.image not in {"", vm.image.name}:
                print(f"{vm.name} begins with a new disk: the recipe that its old one was made from has changed")
            await self.start(vm, anew=told.image != vm.image.name or not vm.disk.exists())
        # A VM that was restored believes that it is still the day of its snapshot.
        await ear.tell(vm.ear, f"date --set=@{time.time():.2f}\n{script}")
        told.write(script)
        while not await asyncio.to_thread(host.greets, vm.port):  # noqa: ASYNC110  # nothing there sets an Event
            await asyncio.sleep(LOOK_EVERY)
        return not was_up

    async def start(self, vm: Vm, *, anew: bool) -> None:
        """Start a VM: on its disk, or `anew` from a snapshot, or if there is none from the image, and make one."""
        vm.stop()
        snapshot = Snapshot(vm)
        if not anew:
            vm.start(self.holder)
        elif not await self.restored(vm, snapshot):
            print(f"{vm.name} boots", flush=True)
            vm.new_disk(vm.image / OVERLAY)
            vm.start(self.holder)
            await ear.tell(vm.ear, SETTLED)
            await snapshot.take()

    async def restored(self, vm: Vm, snapshot: Snapshot) -> bool:
        """Whether the VM goes on from its snapshot; one that does not answer is of no use to anybody."""
        if not snapshot.memory.exists():
            return False
        vm.new_disk(snapshot.disk)
        try:
            async with asyncio.timeout(RESTORED_WITHIN):
                vm.start(self.holder, *snapshot.incoming)
                await ear.tell(vm.ear, "true")
        except (TimeoutError, OSError, LabError) as error:
            why = str(error) or f"it did not answer within {RESTORED_WITHIN:.0f} s"
            print(f"{vm.name} cannot go on from its snapshot: {why}")
            vm.stop()
            snapshot.discard(snapshot.path)
            return False
        return True


def complaint(vm: Vm, error: Exception) -> str:
    """Say what is known of a VM that did not come up."""
    why = str(error) or f"it did not answer within {BOOTS_WITHIN:.0f} s"
    console = vm.home.console(vm.name)
    said = console.read_text(errors="replace").splitlines()[-TAIL:] if console.exists() else []
    return "\n".join([f"{vm.name}: {why}; {console} ends with:", *said])
