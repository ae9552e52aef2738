// Render every card with Microsoft's own renderer, press every button, and write down what came of it.
(() => {
  const jobs = JSON.parse(document.getElementById("jobs").textContent);
  const styled = { fontFamily: "'Segoe UI', 'Open Sans', sans-serif", supportsInteractivity: true };
  styled.actions = { actionsOrientation: "horizontal", actionAlignment: "left", maxActions: 10 };
  styled.containerStyles = {
    warning: { backgroundColor: "#FFF4CE" },
    attention: { backgroundColor: "#FDE7E9" },
    emphasis: { backgroundColor: "#F5F5F5" },
  };

  function render(job) {
    const seen = { problems: [], markdown: [], pressed: [], links: [], buttons: [], inputs: [], text: "" };
    AdaptiveCards.AdaptiveCard.onProcessMarkdown = (text, result) => {
      seen.markdown.push(text);
      result.didProcess = false;
    };
    const card = new AdaptiveCards.AdaptiveCard();
    card.hostConfig = new AdaptiveCards.HostConfig(styled);
    card.onExecuteAction = (action) => {
      seen.pressed.push({ title: action.title, verb: action.verb, data: action.data, url: action.url });
    };
    const context = new AdaptiveCards.SerializationContext();
    card.parse(job.card, context);
    const log = (event) => seen.problems.push(event.message);
    for (let n = 0; n < context.eventCount; n += 1) log(context.getEventAt(n));
    for (const problem of card.validateProperties().validationEvents) log(problem);
    const element = card.render();
    document.body.append(element);
    seen.text = element.innerText;
    seen.links = [...element.querySelectorAll("a")].map((a) => a.href);
    seen.elements = [...new Set([...element.querySelectorAll("*")].map((one) => one.tagName.toLowerCase()))];
    seen.inputs = card.getAllInputs().map((one) => ({ id: one.id, required: one.isRequired, label: one.label }));
    const boxes = [...element.querySelectorAll("textarea, input")];
    const buttons = [...element.querySelectorAll("button")];
    seen.buttons = buttons.map((one) => one.innerText.trim());
    if (!job.press) return seen;
    for (const button of buttons) button.click();
    seen.pressedEmpty = seen.pressed;
    seen.pressed = [];
    for (const box of boxes) {
      box.value = job.typed;
      box.dispatchEvent(new Event("input", { bubbles: true }));
      box.dispatchEvent(new Event("change", { bubbles: true }));
    }
    for (const button of buttons) button.click();
    return seen;
  }

  const results = jobs.map((job) => {
    try {
      return render(job);
    } catch (error) {
      return { problems: [`the renderer failed: ${error}`] };
    }
  });
  const bytes = new TextEncoder().encode(JSON.stringify(results));
  const done = document.createElement("pre");
  done.id = "results";
  done.textContent = btoa(Array.from(bytes, (byte) => String.fromCharCode(byte)).join(""));
  document.body.append(done);
})();
