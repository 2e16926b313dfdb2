"""What they do, act by act. Each act checks that it came out as it should."""

from __future__ import annotations

import numpy as np

from host_tests.virtual.body import Body
from host_tests.virtual.radio import VirtualRadio
from hushbear_companion.inbox import Inbox
from hushbear_companion.received import received
from tools.picture import Comparison, Samples, compare
from tools.stranger import Stranger

from .phone import Phone
from .sound import RATE, load, save, speak
from .telling import OUT, PATIENCE, DemoFailed, chapter, console, tell
from .theft import Thief, Valuables

GOODNIGHT = "Good night, my little bear. Grandma has found your red mitten."
ANSWER = "Good night, grandma! I lost the other one today."


async def invite(
    parent: Phone, relative: Phone, urls: tuple[str, str], thief: Thief, valuables: Valuables
) -> None:
    chapter(f"{relative.owner} lives far away. {parent.owner} invites her, on the telephone.")
    tell("(The relay runs on this computer; each phone reaches it from an address of its own.)")
    for phone, url in zip((parent, relative), urls, strict=True):
        await phone.run("relay", url)
    async with parent.running("invite", relative.owner, "--as", parent.owner) as inviting:
        code = (await inviting.line_with("hushbear join")).split()[-1]
        await inviting.line_with("Waiting")
        words = code.partition("-")[2]
        valuables.add_names(words, words.replace("-", " "))
        thief.steal("invitation open")
        await relative.run("join", code)


async def send(relative: Phone, thief: Thief, valuables: Valuables) -> None:
    chapter(f"{relative.owner} says something for the child, and sends it.")
    spoken = OUT / "grandma.wav"
    speak(GOODNIGHT, "en", spoken)
    await relative.run("send", spoken)
    valuables.recordings["what Grandma has recorded"] = spoken.read_bytes()
    thief.steal("message waits")


async def approve(parent: Phone, thief: Thief, valuables: Valuables) -> None:
    chapter(f"{parent.owner}'s phone fetches it; she hears it, and lets it through.")
    await parent.run("run", "--once")
    await parent.run("inbox")
    (message,) = (await parent.ask("inbox"))["messages"]
    with Inbox(parent.toy.id, parent.data) as inbox:
        sealed = inbox.sealed(bytes.fromhex(message["id"]))
    valuables.recordings["Grandma's sealed message"] = sealed
    heard = OUT / "parent-hears.wav"
    await parent.run("play", message["id"][:8], "--out", heard)
    valuables.recordings["Grandma's message as ADPCM"] = heard.read_bytes()
    await parent.run("approve", message["id"][:8])
    await parent.run("run", "--once")
    thief.steal("news of it waits")


async def hear(toy: Body, valuables: Valuables) -> Comparison:
    try:
        for _ in range(2):
            await toy.led.wait_for(lambda light: light.level > 0.2, PATIENCE)
            await toy.led.wait_for(lambda light: light.level < 0.05, PATIENCE)
    except TimeoutError:
        raise DemoFailed("the toy's LED does not pulse") from None
    tell("The toy's LED pulses.")

    chapter("The child presses the play paw.")
    pressed = toy.clock.time()
    await toy.hold("play", 0.1)
    sent = load(OUT / "grandma.wav")
    await toy.sleep(len(sent) / RATE + 1.5)
    sound = next((each for each in toy.speaker.sounds if each.start >= pressed), None)
    if sound is None:
        raise DemoFailed("the speaker plays nothing")
    tell(
        f"The speaker plays {sound.seconds:.1f} s, the first sample"
        f" {1000 * (sound.start - pressed):.0f} ms after the press."
    )
    save(OUT / "child-hears.wav", sound.pcm)
    valuables.recordings["what the child has heard"] = sound.pcm.astype("<i2").tobytes()
    return compared("Grandma to child", sent, sound.pcm / 32768)


async def answer(toy: Body, parent: Phone, thief: Thief, valuables: Valuables) -> None:
    chapter("The child holds the record paw and answers.")
    spoken = OUT / "child.wav"
    speak(ANSWER, "en-us+f4", spoken)
    sent = load(spoken)
    toy.press("record")
    await toy.sleep(1.0)  # the beep that says "speak now"
    lit = toy.led.on and toy.mic.running
    await toy.sleep(toy.mic.speak(sent * 32767) + 0.3)
    toy.release("record")
    await toy.sleep(1.0)
    if not lit or toy.mic.running:
        raise DemoFailed("the microphone did not listen just while the paw was held")
    tell("The LED was on for as long as the microphone was.")
    valuables.recordings["what the child has said"] = (
        spoken.read_bytes() + np.int16(sent * 32767).tobytes()
    )
    await parent.run("run", "--once")
    thief.steal("answer waits")


async def hear_answer(parent: Phone, relative: Phone, valuables: Valuables) -> Comparison:
    chapter(f"{relative.owner} hears the child, and both see what became of their messages.")
    await relative.run("run", "--once")
    await relative.run("inbox")
    (message,) = received(relative.toy, relative.data)
    valuables.recordings["the child's sealed answer"] = message.path.read_bytes()
    heard = OUT / "grandma-hears.wav"
    await relative.run("play", message.header.id.hex()[:8], "--out", heard)
    valuables.recordings["the child's answer as ADPCM"] = heard.read_bytes()
    await see(relative, "answered")
    for phone in (relative, parent):
        await phone.run("run", "--once")
    await see(parent, "heard")
    return compared("Child to Grandma", load(OUT / "child.wav"), load(heard))


def compared(title: str, sent: Samples, heard: Samples) -> Comparison:
    try:
        return compare(title, sent, heard, RATE)
    except ValueError as error:
        raise DemoFailed(str(error)) from None


async def see(phone: Phone, state: str) -> None:
    """Have somebody look what has become of the one message that was sent from there."""
    await phone.run("sent")
    states = [each["state"] for each in (await phone.ask("sent"))["sent"]]
    if states != [state]:
        raise DemoFailed(f"{phone.owner}'s message should be {state}, and is {states}")


async def stranger(toy: Body, radio: VirtualRadio) -> tuple[int, int]:
    """Return how many attempts were refused, and how many bytes were learned by them."""
    chapter("A stranger's phone, near by, tries what was done to the toy of 2017.")
    recordings = len(toy.mic.opened)
    attempts = learned = 0
    async for outcome in Stranger(radio.phone(), PATIENCE).attempts():
        refused = outcome.refused and len(toy.mic.opened) == recordings
        verdict = "[green]refused[/green]" if refused else "[red]NOT REFUSED[/red]"
        console.print(f"  {outcome.attempt:<42} {verdict}: {len(outcome.learned)} bytes learned")
        if not refused:
            raise DemoFailed(f"the stranger could {outcome.attempt}")
        attempts += 1
        learned += len(outcome.learned)
    return attempts, learned
