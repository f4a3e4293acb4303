// Draws a figure, and changes it where it stands: no flash, and whoever has zoomed in stays there.

function library() {  // one for all charts of the page
  window.leaklabPlotly ??= new Promise((resolve, reject) => {
    const script = document.createElement("script");
    script.src = "/plotly/plotly.min.js";
    script.onload = () => resolve(window.Plotly);
    script.onerror = () => reject(new Error(`${script.src} is not there`));
    document.head.append(script);
  });
  return window.leaklabPlotly;
}

// An update of a chart that is out of sight waits until the chart is seen.
const sight = new IntersectionObserver((entries) => entries.forEach(
  ({ target, isIntersecting }) => {
    target.unseen = !isIntersecting;
    if (isIntersecting) target.waiting?.();
  },
));

export default async function ({ data, parentElement, setTriggerValue }) {
  const place = parentElement.querySelector(".stPlotlyChart");
  const figure = JSON.parse(data.figure);
  place.ariaLabel = data.alt;
  place.style.height = `${figure.layout.height}px`;
  place.asked = (place.asked ?? 0) + 1;
  const mine = place.asked;
  const plotly = await library();
  if (mine !== place.asked || !place.isConnected) return;  // a newer one has come meanwhile
  const theme = (name) => getComputedStyle(parentElement).getPropertyValue(`--st-${name}`);
  const axis = { automargin: true, zeroline: false, gridcolor: theme("border-color") };
  const font = { ...figure.layout.font, size: 12, color: theme("text-color") };
  const paper = { font, paper_bgcolor: theme("background-color") };
  const layout = { ...figure.layout, ...paper, template: { layout: { xaxis: axis, yaxis: axis } } };
  const draw = async () => {
    place.waiting = null;
    await plotly.react(place, figure.data, layout, data.config);
    if (!data.clickable) return;
    place.removeAllListeners("plotly_click");
    place.on("plotly_click", ({ points }) => setTriggerValue("pointed", points[0].customdata));
  };
  sight.observe(place);
  if (place.unseen) place.waiting = draw;
  else await draw();
}
